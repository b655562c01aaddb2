"""How long the page's answers take among many locks: what is asked, of what, and what an answer costs."""

from __future__ import annotations

import gc
import json
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil
import psycopg

LIMIT = 0.3
"""Seconds that an answer may take."""
AIM = 0.15
"""Seconds that an answer should take on a machine with nothing else to do: half the limit, so that there is room."""
ROUNDS = 9

QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    ("now", {}),
    ("now", {"search": "table_99", "sort": "held_for", "descending": True}),
    ("now", {"dag_id": "dag_7", "task_id": "load"}),
    ("now", {"mark": "too_long"}),
    ("lock", {"name": "dwh.table_7", "hours": 720}),
    ("history", {}),
    ("history", {"dag_id": "dag_7", "task_id": "load", "run_id": "r1"}),
    ("history", {"dag_id": "unheard of"}),
    ("stats", {"by": "lock", "hours": 1}),
    ("stats", {"by": "lock", "hours": 24}),
    ("stats", {"by": "owner", "hours": 24}),
    ("stats", {"by": "lock", "hours": 720}),
    ("stats", {"by": "owner", "hours": 720, "dag_id": "dag_7"}),
]

# All who wait are looked after, for hours: an answer names who stands before whom. A quarter of the history is about
# all locks, the rest about 225 busy ones. No two events have the same context, as in life: the planner counts on it.
_CROWD = [
    "insert into lockprovider.lock (lock_name) select 'dwh.table_' || n from generate_series(1, %(leases)s) n",
    """
    insert into lockprovider.lease (lock_name, token, owner_id, owner, state, ttl, expires_at, context)
    select 'dwh.table_' || n, n, 'o' || n, 'dag_' || n %% 100 || '/r1/load#1', 'held', 120, now() + interval '1 hour',
           %(about)s::jsonb || jsonb_build_object('dag_id', 'dag_' || n %% 100, 'pid', n)
    from generate_series(1, %(leases)s) n
    """,
    """
    insert into lockprovider.waiter (ticket, lock_name, owner_id, owner, seen_at, context)
    select n, 'dwh.table_' || 1 + n %% 200, 'w' || n, 'wait/r1/load#1', now() + interval '1 day',
           %(about)s::jsonb || jsonb_build_object('dag_id', 'wait', 'pid', n)
    from generate_series(1, %(waiters)s) n
    """,
    """
    insert into lockprovider.lease_event (at, lock_name, token, owner_id, owner, event, held, waited, context)
    select now() - interval '1 second' * (%(events)s - n) * 0.8,
           'dwh.table_' || 1 + case n / 2 %% 4 when 0 then n / 8 %% %(leases)s else n / 2 %% 300 end, n / 2, 'o' || n,
           'dag_' || n %% 100 || '/r1/load#1', case n %% 2 when 0 then 'granted' else 'released' end,
           case n %% 2 when 1 then n %% 977 end, n %% 53,
           %(about)s::jsonb || jsonb_build_object('dag_id', 'dag_' || n %% 100, 'pid', n)
    from generate_series(1, %(events)s) n
    """,
]
_ABOUT = {
    "run_id": "r1",
    "task_id": "load",
    "map_index": -1,
    "try_number": 1,
    "host": "worker-1",
    "log_url": "http://127.0.0.1/a/long/address",
}


def fill(dsn: str, *, leases: int = 10_000, waiters: int = 2_000, events: int = 100_000) -> None:
    """Put so many into empty tables."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in _CROWD:
            given = {"leases": leases, "waiters": waiters, "events": events, "about": json.dumps(_ABOUT)}
            connection.execute(statement, given)
        connection.execute("vacuum analyze")  # or the server would do so by itself, while answers are measured


@dataclass(frozen=True)
class Cost:
    """Of one question, asked several times. Seconds."""

    took: list[float]
    """By the clock, in order."""
    server: float
    """CPU of this process, per answer: the app, and the client beside it."""
    database: float
    """CPU of all processes of Postgres, per answer."""
    free: bool
    """Whether others left enough of the machine meanwhile. If not, the clock measures them."""

    @property
    def median(self) -> float:
        return statistics.median(self.took)

    @property
    def work(self) -> float:
        """CPU of an answer: about what it takes by the clock where nobody else is, one after the other as they work."""
        return self.server + self.database

    @property
    def is_in_time(self) -> bool:
        """Whether the median keeps the limit.

        Where others kept the machine busy, the clock tells of them. An answer is then judged by the work in it, which
        is ours alone, and by half the limit.
        """
        return self.median <= LIMIT or (not self.free and self.work <= AIM)

    def __str__(self) -> str:
        ms = [round(1000 * one) for one in (self.median, min(self.took), max(self.took), self.server, self.database)]
        busy = "" if self.free else " (others kept the machine busy)"
        return "median {} ms, {} to {}; CPU: server {}, database {}".format(*ms) + busy


class Stopwatch:
    """Measures questions to an app in this process, over one Postgres."""

    def __init__(self, dsn: str) -> None:
        with psycopg.connect(dsn) as connection:
            server = psutil.Process(connection.info.backend_pid).parent()
        assert server is not None
        self._postgres = server
        gc.collect()  # a server that has been up for a while does not look through what it loaded at its start

    def measure(self, ask: Callable[[], object], rounds: int = ROUNDS) -> Cost:
        """Ask once to warm up, then ``rounds`` times."""
        ask()
        took = []
        machine, database, server = _machine(), self._database(), time.process_time()
        for _ in range(rounds):
            start = time.perf_counter()
            ask()
            took.append(time.perf_counter() - start)
        server, machine = time.process_time() - server, _machine() - machine
        time.sleep(0.05)  # the server takes leave of its parallel workers, and their time is then known
        database = self._database() - database
        # One core is for us, and of the rest we may need some: parallel workers, the client.
        spare = (psutil.cpu_count() or 1) - 1
        free = machine - server - database <= spare * sum(took) / 2
        return Cost(took, server / rounds, database / rounds, free)

    def _database(self) -> float:
        """CPU seconds of the server, of its processes, and of those that have ended."""
        spent = sum(self._postgres.cpu_times()[:4])
        for child in self._postgres.children():
            with suppress(psutil.NoSuchProcess):
                spent += sum(child.cpu_times()[:2])
        return float(spent)


def _machine() -> float:
    """CPU seconds that the whole machine has spent, also on others' virtual machines."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0))
