"""What people and dashboards read."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from airflow_lockprovider.lease import LeaseEngine

Sql = psycopg.Connection[Any]


def test_statistics_add_up(engine: LeaseEngine, admin: Sql) -> None:
    first = engine.try_acquire("x", "one", context={"dag_id": "nightly", "task_id": "load"})
    ticket = engine.enqueue("x", owner_id="two", context={"dag_id": "backfill", "task_id": "load"})
    engine.release(first)
    engine.reserve(ticket.number)
    engine.confirm(ticket.number, "two")
    engine.revoke("x", by="ann", reason="why")
    engine.try_acquire("x", "three", owner="psql")
    admin.execute("update lockprovider.lease set expires_at = clock_timestamp() - interval '1 s'")
    engine.clean_up()
    stats = admin.execute("select grants, expired, lapsed, revoked, held_avg_seconds from lockprovider.lock_stats")
    ((grants, expired, lapsed, revoked, held),) = stats.fetchall()
    assert (grants, expired, lapsed, revoked) == (3, 1, 0, 1), "a reservation that is confirmed is one grant"
    assert held == pytest.approx(0, abs=60)
    owners = admin.execute("select dag_id, task_id, grants, expired from lockprovider.lock_owners order by 1")
    assert owners.fetchall() == [("-", "psql", 1, 1), ("backfill", "load", 1, 0), ("nightly", "load", 1, 0)]


def test_the_locks_view_shows_who_holds_what_and_who_waits(engine: LeaseEngine, admin: Sql) -> None:
    lease = engine.try_acquire("x", "one", ttl=60)
    engine.enqueue("x", owner_id="two", priority=3)
    engine.release(engine.try_acquire("free"))
    query = (
        "select lock_name, owner_id, token, held, waiters, expires_in between '50 s' and '60 s'"
        " from lockprovider.locks order by 1"
    )
    assert admin.execute(query).fetchall() == [  # type: ignore[arg-type]
        ("free", None, None, False, 0, None),
        ("x", "one", lease.token, True, 1, True),
    ]
    line = admin.execute('select "position", owner_id, priority from lockprovider.lock_queue')
    assert line.fetchall() == [(1, "two", 3)]
