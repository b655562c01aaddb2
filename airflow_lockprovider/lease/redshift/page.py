"""What the Locks page reads. Few leases live in a Redshift at once, so they are filtered and sorted here."""

from __future__ import annotations

import json
from datetime import UTC, timedelta
from typing import Any

from airflow_lockprovider.lease.redshift.answer import utc
from airflow_lockprovider.lease.redshift.desk import Desk
from airflow_lockprovider.lease.redshift.looks import queue
from airflow_lockprovider.lease.redshift.session import Row
from airflow_lockprovider.lease.redshift.transaction import naive

_NO_END = 2**62
_MARKS = {
    "late": lambda row: row["late"] or row["expired"],
    "too_long": lambda row: row["too_long"],
    "draining": lambda row: row["draining"],
    "paused": lambda row: row["paused"],
    "waited": lambda row: row["waiters"] > 0,
}
_SORTS = {
    "lock": "lock_name",
    "owner": "owner",
    "state": "state",
    "held_for": "held_seconds",
    "expires_in": "expires_in_seconds",
    "token": "token",
    "units": "units",
    "waiters": "waiters",
}


def page_locks(
    desk: Desk,
    *,
    watch_held: float | None,
    renew_every: float | None,
    mark: str | None,
    sort: str,
    descending: bool,
    limit: int,
    offset: int,
    **wanted: Any,
) -> list[Row]:
    """One row per lease, or per lock that is paused or waited for."""
    waited_for = set()
    if wanted["dag_id"] is not None:
        waiting = desk.session.run("page_waiting")
        waited_for = {row["lock_name"] for row in waiting if _is_of(json.loads(row["context"]), wanted)}
    there = _without_what_is_over(
        desk.session.run("page_rows", lock_name=wanted["lock_name"] or ""), wanted["lock_name"]
    )
    rows = [_marked(row, watch_held, renew_every) for row in there]
    chosen = [row for row in rows if _is_wanted(row, waited_for, wanted)]
    counts = {
        "all_leases": sum(row["token"] is not None for row in chosen),
        "all_late": sum(row["late"] or row["expired"] for row in chosen),
        "all_too_long": sum(row["too_long"] for row in chosen),
        "all_draining": sum(row["draining"] for row in chosen),
        "all_paused": sum(row["paused"] for row in chosen),
        "all_rows": len(chosen),
    }
    matching = [row for row in chosen if mark is None or _MARKS[mark](row)]
    column = _SORTS[sort]
    matching.sort(key=lambda row: (row["lock_name"], row["token"] or 0))
    known = [row for row in matching if row[column] is not None]
    known.sort(key=lambda row: row[column], reverse=descending)
    known += [row for row in matching if row[column] is None]
    page: list[Row] = known[offset : offset + limit] or [{"lock_name": None}]
    return [{**row, **counts, "matching": len(matching)} for row in page]


def page_line(
    desk: Desk, *, lock_names: list[str], skip_after: float, limit: int, search: str | None, **wanted: Any
) -> list[Row]:
    """The first of the line that are wanted, and who stands before them on their locks."""
    rows = queue(desk, lock_name=wanted["lock_name"], skip_after=skip_after)
    by_task = wanted["dag_id"] is not None
    for row in rows:
        row["wanted"] = (search is None or _has(row, search.lower(), ("lock_name", "owner"))) and (
            not by_task or row["lock_name"] in lock_names or _is_of(json.loads(row["context"]), wanted)
        )
    matching = [row for row in rows if row["wanted"]]
    reach = {row["lock_name"]: row["position"] for row in matching[:limit]}
    return [{**row, "matching": len(matching)} for row in rows if row["position"] <= reach.get(row["lock_name"], 0)]


def page_events(desk: Desk, *, before: int | None, limit: int, **wanted: str | None) -> list[Row]:
    """History, newest first."""
    given = {name: value or "" for name, value in wanted.items()}
    rows = desk.session.run("page_events", **given, before=_NO_END if before is None else before, limit=limit)
    return [{**row, "at": utc(row["at"])} for row in rows]


def page_lock_stats(desk: Desk, *, seconds: float, lock_name: str | None, limit: int) -> list[Row]:
    """By lock."""
    rows = desk.session.run("page_lock_stats", since=_since(desk, seconds), lock_name=lock_name or "", limit=limit)
    return [{**row, "last_at": utc(row["last_at"])} for row in rows]


def page_owner_stats(desk: Desk, *, seconds: float, limit: int, **wanted: str | None) -> list[Row]:
    """By task and lock."""
    given = {name: value or "" for name, value in wanted.items()}
    rows = desk.session.run("page_owner_stats", since=_since(desk, seconds), **given, limit=limit)
    return [{**row, "last_at": utc(row["last_at"])} for row in rows]


def queue_growth(
    desk: Desk, *, seconds: float, lock_name: str | None, skip_after: float, prune_after: float
) -> list[Row]:
    """How long each line was in the last ``seconds``, and who came and left."""
    now = desk.session.run("moment")[0]["now"]
    begins = now - timedelta(seconds=seconds)
    end = naive(now).replace(tzinfo=UTC).timestamp()
    rows = desk.session.run(
        "queue_growth",
        lock_name=lock_name or "",
        since=begins,
        begins=end - seconds,
        middle=end - seconds / 2,
        late=end - seconds / 4,
        skip_after=skip_after,
        prune_after=prune_after,
    )
    return [{name: value if name == "lock_name" else int(value) for name, value in row.items()} for row in rows]


def _since(desk: Desk, seconds: float) -> Any:
    return desk.session.run("moment")[0]["now"] - timedelta(seconds=seconds)


_OF_LEASE = ("token", "owner_id", "owner", "state", "units", "shared", "context", "created_at", "expires_at")


def _without_what_is_over(rows: list[Row], asked_for: str | None) -> list[Row]:
    # It stays in the table until a grant removes it; whether it drains, only that grant finds out.
    there = [row for row in rows if row["state"] in ("held", "reserved") or row["token"] is None]
    names = {row["lock_name"] for row in there}
    for row in rows:
        matters = row["paused"] or row["waiters"] > 0 or row["lock_name"] == asked_for
        if matters and row["lock_name"] not in names:
            names.add(row["lock_name"])
            there.append({**row, **dict.fromkeys((*_OF_LEASE, "held_seconds", "expires_in_seconds", "ttl_seconds"))})
    return there


def _marked(row: Row, watch_held: float | None, renew_every: float | None) -> Row:
    context = json.loads(row["context"]) if row["context"] else {}
    names = ("held_seconds", "expires_in_seconds", "ttl_seconds")
    held, remaining, ttl = (None if row[name] is None else float(row[name]) for name in names)
    alive = row["state"] == "held" and remaining is not None and remaining > 0
    expected = context.get("expected_hold") or watch_held
    return {
        **row,
        "context": context,
        "created_at": utc(row["created_at"]),
        "expires_at": utc(row["expires_at"]),
        "held_seconds": held,
        "expires_in_seconds": remaining,
        "ttl_seconds": ttl,
        "waiters": int(row["waiters"]),
        "expired": row["state"] in ("held", "reserved") and remaining is not None and remaining <= 0,
        "late": alive and remaining < ttl - 2 * (renew_every or ttl / 4),  # type: ignore[operator]
        "too_long": alive and held is not None and expected is not None and held > float(expected),
        "draining": False,
    }


def _is_wanted(row: Row, waited_for: set[str], wanted: dict[str, Any]) -> bool:
    if wanted["lock_name"] not in (None, row["lock_name"]):
        return False
    if wanted["search"] is not None and not _has(row, wanted["search"].lower(), ("lock_name", "owner", "note")):
        return False
    return wanted["dag_id"] is None or _is_of(row["context"], wanted) or row["lock_name"] in waited_for


def _has(row: Row, part: str, columns: tuple[str, ...]) -> bool:
    return any(part in (row[column] or "").lower() for column in columns)


def _is_of(context: Row, wanted: dict[str, Any]) -> bool:
    names = ("dag_id", "run_id", "task_id", "map_index")
    return all(wanted[name] is None or str(context.get(name)) == wanted[name] for name in names)
