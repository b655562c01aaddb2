"""A lock that nobody else wants, against the least that a database could do for it: two UPDATEs of one row."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import psycopg

from airflow_lockprovider.lease import connect
from tests.bench.contention import percentile
from tests.bench.peers import TTL

_BATCH = 50


def uncontended(dsn: str, *, pairs: int) -> dict[str, Any]:
    """Acquire + release against two single-row UPDATE transactions on the same server, batches in turn."""
    engine = connect(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("create table if not exists bench_row (id integer primary key, n integer not null)")
        connection.execute("insert into bench_row values (1, 0) on conflict do nothing")

        def lease() -> None:
            engine.release(engine.try_acquire("bench-uncontended", ttl=TTL))  # type: ignore[arg-type]

        def updates() -> None:
            connection.execute("update bench_row set n = n + 1 where id = 1")
            connection.execute("update bench_row set n = n - 1 where id = 1")

        ours, theirs = [], []
        for _ in range(max(1, pairs // _BATCH)):
            ours += _timed(lease)
            theirs += _timed(updates)
    engine.close()
    return {
        "pairs": len(ours),
        "lease p50 ms": statistics.median(ours),
        "lease p99 ms": percentile(ours, 99),
        "two updates p50 ms": statistics.median(theirs),
        "rate against two updates": sum(theirs) / sum(ours),
    }


def _timed(work: Callable[[], None]) -> list[float]:
    taken = []
    for _ in range(_BATCH):
        start = time.perf_counter()
        work()
        taken.append((time.perf_counter() - start) * 1000)
    return taken
