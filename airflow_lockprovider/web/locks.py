"""What the page reads. Everything here only looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, status

from airflow_lockprovider import config
from airflow_lockprovider.lease.engine import LeaseEngine
from airflow_lockprovider.lease.model import Waiter
from airflow_lockprovider.lease.overview import Filter, Line, Mark, Overview, Row, Sort
from airflow_lockprovider.web.answers import Counts, History, Now, OneLock, Statistics
from airflow_lockprovider.web.security import User, viewing
from airflow_lockprovider.web.timeline import spans
from airflow_lockprovider.web.warehouse import Asked, MayAct

router = APIRouter(prefix="/api", dependencies=[Depends(viewing)], tags=["Look"])

_WAITERS = 200
"""Most waiters in one answer."""
_HISTORY = 1000
"""Most events from which a timeline is drawn."""
_SHOWN = 200
"""Most events that are sent along with a lock."""

Text = Annotated[str | None, Query(max_length=500)]
Hours = Annotated[float, Query(gt=0, le=24 * 366, description="How far to look back.")]


def of_task(
    lock: Text = None,
    search: Text = None,
    dag_id: Text = None,
    run_id: Text = None,
    task_id: Text = None,
    map_index: Annotated[str | None, Query(description="Anything but a number from 0 on: not mapped.")] = None,
) -> Filter:
    """What a request is about. Airflow's tabs send ``{MAP_INDEX}`` as it is for a task that is not mapped."""
    index = int(map_index) if map_index and map_index.isascii() and map_index.isdigit() else None
    return Filter(lock or None, search or None, dag_id or None, run_id or None, task_id or None, index)


Wanted = Annotated[Filter, Depends(of_task)]


@router.get("/now", summary="Who holds what, who waits")
async def now(
    asked: Asked,
    user: User,
    may_act: MayAct,
    wanted: Wanted,
    mark: Annotated[Mark | None, Query(description="Only those that need a look.")] = None,
    sort: Sort = "lock",
    descending: bool = False,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> Now:
    """Leases, locks that are paused or waited for, and the line. By task: what it holds and what it waits for."""
    watch_held = config.watch_held()

    def look(engine: LeaseEngine) -> tuple[Overview, Line]:
        seen = engine.overview(
            wanted,
            watch_held=watch_held,
            mark=mark,
            sort=sort,
            descending=descending,
            limit=limit,
            offset=offset,
        )
        # Of a task also: who waits for what it holds, and who stands before it.
        return seen, engine.line(wanted, beside={row["lock_name"] for row in seen.rows}, limit=_WAITERS)

    seen, line = await asked.ask(look)
    return Now.model_validate(
        {
            "conn_id": asked.conn_id,
            "conn_ids": config.page_conn_ids(),
            "user": user.get_name(),
            "may_act": may_act,
            "counts": Counts(**seen.counts, waiters=line.matching, matching=seen.matching),
            "locks": seen.rows,
            "waiters": [_waiter(one, wanted) for one in line.waiters],
        }
    )


@router.get("/lock", summary="Everything about one lock")
async def one_lock(
    asked: Asked, may_act: MayAct, name: Annotated[str, Query(max_length=500)], hours: Hours = 24
) -> OneLock:
    """Leases, line, statistics, who held it when, and what happened. 404 if nobody has ever asked for it."""
    wanted = Filter(lock_name=name)
    watch_held = config.watch_held()

    def look(engine: LeaseEngine) -> tuple[list[Row], Line, list[Row], list[Row], list[Row]]:
        return (
            engine.overview(wanted, watch_held=watch_held, limit=1000).rows,
            engine.line(wanted, limit=_WAITERS),
            engine.events(wanted, limit=_HISTORY),
            engine.lock_statistics(hours * 3600, name),
            engine.owner_statistics(hours * 3600, wanted, 50),
        )

    rows, line, events, stats, owners = await asked.ask(look)
    if not rows and not events:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"nobody has ever asked for a lock {name!r}")
    lock: Mapping[str, Any] = rows[0] if rows else {}
    leases = [row for row in rows if row["token"] is not None]
    since = datetime.now(UTC).timestamp() - hours * 3600
    drawn = [span for span in spans(events, leases) if span.end is None or span.end.timestamp() >= since]
    return OneLock.model_validate(
        {
            "conn_id": asked.conn_id,
            "may_act": may_act,
            "name": name,
            "capacity": lock.get("capacity"),
            "paused": lock.get("paused", False),
            "note": lock.get("note"),
            "leases": leases,
            "waiters": [_waiter(one, wanted) for one in line.waiters],
            "hours": hours,
            "stats": stats[0] if stats else None,
            "owners": owners,
            "known_since": events[-1]["at"] if len(events) == _HISTORY else None,
            "spans": [asdict(span) for span in drawn],
            "events": events[:_SHOWN],
        }
    )


@router.get("/history", summary="What happened")
async def history(
    asked: Asked,
    wanted: Wanted,
    before: Annotated[int | None, Query(ge=0, description="event_id at which the last answer ended.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> History:
    """Newest first."""
    events = await asked.ask(lambda engine: engine.events(wanted, before=before, limit=limit))
    last = events[-1]["event_id"] if len(events) == limit else None
    return History.model_validate({"events": events, "before": last})


@router.get("/stats", summary="Hold and wait times")
async def statistics(
    asked: Asked, wanted: Wanted, by: Literal["lock", "owner"] = "lock", hours: Hours = 24
) -> Statistics:
    """By lock (whoever used it) or by owner; the busiest 500. The other list is empty."""

    def look(engine: LeaseEngine) -> list[Row]:
        if by == "lock":
            return engine.lock_statistics(hours * 3600, wanted.lock_name)
        return engine.owner_statistics(hours * 3600, wanted)

    return Statistics.model_validate({"hours": hours, "locks": [], "owners": [], f"{by}s": await asked.ask(look)})


_OF_WAITER = [field.name for field in fields(Waiter)]


def _waiter(one: Waiter, wanted: Filter) -> dict[str, Any]:
    mine = wanted.dag_id is not None and wanted.fits(dict(one.context))
    return {name: getattr(one, name) for name in _OF_WAITER} | {"mine": mine}  # asdict() would copy every context
