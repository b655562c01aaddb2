"""Whether a grant stays as cheap as it was when there is much of everything."""

from __future__ import annotations

import statistics
import time
from typing import Any

import psycopg

from airflow_lockprovider.lease import LeaseEngine, connect
from tests.bench.peers import TTL

_GRANTS = 200


def scale(dsn: str, *, names: int, waiters: int, events: int) -> dict[str, Any]:
    """Median cost of one acquire + release, in milliseconds, before and after each kind of growth; and the ratios."""
    engine = connect(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        _one_grant(engine, "bench-scale")
        found: dict[str, Any] = {"one of everything": _median(engine, "bench-scale")}
        connection.execute(
            "insert into lockprovider.lock (lock_name) select 'bench-name-' || n from generate_series(1, %s) n",
            (names,),
        )
        connection.execute(
            "insert into lockprovider.lease (lock_name, token, owner_id, owner, state, ttl, expires_at)"
            " select lock_name, 1, lock_name, lock_name, 'held', 3600, clock_timestamp() + interval '1 hour'"
            " from lockprovider.lock where lock_name like 'bench-name-%%'"
        )
        _settle(connection)
        found[f"{names:,} held locks"] = _median(engine, "bench-scale")
        _queue(connection, "bench-elsewhere", waiters)
        found[f"{waiters:,} waiters on another lock"] = _median(engine, "bench-scale")
        holder = engine.try_acquire("bench-queued", ttl=3600)
        assert holder
        _queue(connection, "bench-queued", waiters)
        found[f"a poll for {waiters:,} waiters of one lock"] = _poll(engine, connection)
        found[f"one of {waiters:,} waiters is granted, and releases"] = _from_the_queue(engine, connection, holder)
        connection.execute(
            "insert into lockprovider.lease_event (lock_name, token, owner_id, owner, event, waited, held)"
            " select 'bench-scale', n, 'owner ' || n, 'owner ' || n, 'released', 0, 1 from generate_series(1, %s) n",
            (events,),
        )
        _settle(connection)
        found[f"{events:,} events in the history"] = _median(engine, "bench-scale")
    engine.close()
    base = found["one of everything"]
    return {"p50 ms": found, "ratios": {name: value / base for name, value in found.items()}}


def _queue(connection: Any, lock_name: str, waiters: int) -> None:
    connection.execute("insert into lockprovider.lock (lock_name) values (%s) on conflict do nothing", (lock_name,))
    connection.execute("insert into lockprovider.worker_session values ('bench') on conflict do nothing")
    connection.execute(
        "insert into lockprovider.waiter (ticket, lock_name, owner_id, owner, worker_session, seen_at)"
        " select nextval('lockprovider.ticket'), %s, 'waiter ' || n || %s, 'waiter ' || n, 'bench',"
        " clock_timestamp() + interval '1 hour' from generate_series(1, %s) n",
        (lock_name, lock_name, waiters),
    )
    _settle(connection)


def _tickets(connection: Any) -> list[int]:
    rows = connection.execute("select ticket from lockprovider.waiter where lock_name = 'bench-queued' order by ticket")
    return [row[0] for row in rows.fetchall()]


def _poll(engine: LeaseEngine, connection: Any) -> float:
    tickets = _tickets(connection)
    taken = []
    for _ in range(20):
        start = time.perf_counter()
        engine.poll("bench", tickets)
        taken.append((time.perf_counter() - start) * 1000)
    return statistics.median(taken)


def _from_the_queue(engine: LeaseEngine, connection: Any, holder: Any) -> float:
    engine.release(holder)
    taken = []
    for ticket in _tickets(connection)[:100]:
        owner = connection.execute("select owner_id from lockprovider.waiter where ticket = %s", (ticket,)).fetchone()
        start = time.perf_counter()
        lease = engine.confirm(ticket, owner[0], ttl=TTL)
        assert lease, lease
        engine.release(lease)
        taken.append((time.perf_counter() - start) * 1000)
    return statistics.median(taken)


def _median(engine: LeaseEngine, lock_name: str) -> float:
    return statistics.median(_one_grant(engine, lock_name) for _ in range(_GRANTS))


def _one_grant(engine: LeaseEngine, lock_name: str) -> float:
    start = time.perf_counter()
    lease = engine.try_acquire(lock_name, ttl=TTL)
    assert lease, lease
    engine.release(lease)
    return (time.perf_counter() - start) * 1000


def _settle(connection: Any) -> None:
    connection.execute("analyze")
    connection.execute("checkpoint")
