"""Why a request still waits, told from the line and from what is granted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from airflow_lockprovider.lease.model import Blocker, Waiter

Row = Mapping[str, Any]

SHOWN = 5
"""Most older requests that are named for one waiter: its position tells how many there are."""


def explain(waiters: Sequence[Waiter], holders: Sequence[Row]) -> list[Waiter]:
    """The same waiters, each with what stands in its way. ``holders``: a row per lock and lease."""
    locks: dict[str, list[Row]] = defaultdict(list)
    for row in holders:
        locks[row["lock_name"]].append(row)
    living: dict[str, list[Waiter]] = defaultdict(list)
    told = []
    for waiter in waiters:
        line = living[waiter.lock_name]
        told.append(replace(waiter, blocked_by=tuple(_blockers(waiter, locks[waiter.lock_name], line))))
        if waiter.alive:  # who is passed over stands in nobody's way
            line.append(waiter)
    return told


def _blockers(waiter: Waiter, rows: list[Row], living: list[Waiter]) -> list[Blocker]:
    found = []
    capacity = rows[0]["capacity"] if rows else waiter.units
    if rows and rows[0]["paused"]:
        found.append(Blocker("pause", rows[0]["note"] or "paused"))
    if waiter.units > capacity:
        found.append(Blocker("capacity", f"asks for {waiter.units} units, there are {capacity}"))
    leases = [row for row in rows if row["token"] is not None]
    if not _fits(waiter, leases, capacity):
        found += [
            Blocker("lease", f"{row['owner']} (token {row['token']}, {row['state']})", token=row["token"])
            for row in leases
            if not (waiter.shared and row["shared"])
        ]
    before = (one for one in living if one.units <= capacity and not (waiter.shared and one.shared))
    found += [
        Blocker("request", f"{one.owner} (ticket {one.ticket})", ticket=one.ticket)
        for one, _ in zip(before, range(SHOWN), strict=False)
    ]
    return found


def _fits(waiter: Waiter, leases: list[Row], capacity: int) -> bool:
    if waiter.shared:
        return all(row["shared"] for row in leases)
    return not any(row["shared"] for row in leases) and sum(row["units"] for row in leases) + waiter.units <= capacity
