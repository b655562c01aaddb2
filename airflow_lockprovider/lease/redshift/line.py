"""The rules of the line and of the capacity, over rows that were read: the same ones as in the SQL of Postgres."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow_lockprovider.lease.redshift.session import Row
from airflow_lockprovider.lease.redshift.transaction import LIVING, Transaction


def seen_at(waiter: Row) -> datetime:
    """When somebody last looked after it: its own mark, or that of the process that looks after it."""
    own: datetime = waiter["seen_at"]
    return max(own, waiter["session_seen_at"] or own)


def counts(transaction: Transaction, waiter: Row, skip_after: float) -> bool:
    """Whether this request stands in line: looked after, with no reservation, and not asking for more than there is."""
    lock = transaction.locks.get(waiter["lock_name"])
    return (
        lock is not None
        and waiter["units"] <= lock["capacity"]
        and seen_at(waiter) > transaction.now - timedelta(seconds=skip_after)
        and not any(
            row["ticket"] == waiter["ticket"] and row["state"] == "reserved" and transaction.living(row)
            for row in transaction.leases_of(waiter["lock_name"])
        )
    )


def ahead(transaction: Transaction, lock_name: str, ticket: int | None, shared: bool, skip_after: float) -> int:
    """How many requests stand before this one; with no ticket it is a newcomer, behind everybody."""
    before = 0
    for waiter in transaction.waiters:  # in order: priority, then ticket
        if waiter["lock_name"] != lock_name:
            continue
        if waiter["ticket"] == ticket:
            break
        if counts(transaction, waiter, skip_after) and not (waiter["shared"] and shared):
            before += 1
    return before


def fits(transaction: Transaction, lock_name: str, units: int, shared: bool, *, living_only: bool = False) -> bool:
    """Whether the units fit beside what is granted. Every row counts, draining ones too.

    ``living_only`` is for a plain look: whether what is over can go, only a try finds out.
    """
    lock = transaction.locks.get(lock_name)
    if lock is None:
        return False
    rows = [
        row
        for row in transaction.leases_of(lock_name)
        if not living_only or transaction.living(row) or (row["state"] not in LIVING and transaction.kept(row))
    ]
    if shared:
        return all(row["shared"] for row in rows)
    return not any(row["shared"] for row in rows) and sum(row["units"] for row in rows) + units <= lock["capacity"]
