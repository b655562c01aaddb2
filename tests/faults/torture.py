"""The long fault run: clients that contend, and a run of misfortunes. Started as: python -m tests.faults.torture

It ends when there were enough grants, or when the time is over; then the history is judged. The exit code is 0 only if
nothing was found and there were enough grants.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from airflow_lockprovider.lease import Busy, connect
from airflow_lockprovider.lease.errors import LockProviderError
from tests.faults import history, witness
from tests.faults.server import Server
from tests.faults.torture_worker import CAPACITIES, MUTEXES, SETTINGS

REPOSITORY = Path(__file__).resolve().parent.parent.parent
WITHIN = SETTINGS.skip_after + SETTINGS.poll_interval
"""Longest takeover after the end of a dead owner's lease, if somebody living waits for it."""
GUARD = SETTINGS.ttl / 2
"""…and on top, if a guarded transaction of the dead owner was still open: the guard's idle timeout."""
SLACK = 0.5
"""Seconds that a busy machine may take on top, for a client that has to be scheduled and to connect again."""
TABLES = """
create table counter (lock_name text primary key, n integer not null);
create table ledger (ledger_id bigint generated always as identity, lock_name text, token bigint, before integer,
                     at timestamptz default clock_timestamp());
create table asked (lock_name text, owner_id text);
"""


@dataclass
class Report:
    """What a run did and what was found."""

    seed: int
    guarded: bool
    seconds: float = 0.0
    grants: int = 0
    increments: int = 0
    lost_updates: int = 0
    findings: list[str] = field(default_factory=list)
    misfortunes: dict[str, int] = field(default_factory=dict)
    clients: dict[str, int] = field(default_factory=dict)
    takeovers: int = 0
    takeover_p50: float = 0.0
    takeover_longest: float = 0.0
    takeover_bound: float = WITHIN + SLACK
    drained: int = 0
    drained_longest: float = 0.0
    drained_bound: float = WITHIN + GUARD + SLACK
    out_of_turn: int = 0


class Torture:
    """One run. ``mishaps`` scales how often clients have bad luck; 0: a calm day."""

    def __init__(self, server: Server, *, seed: int, workers: int, guarded: bool, mishaps: float) -> None:
        self.server, self.seed, self.workers, self.guarded, self.mishaps = server, seed, workers, guarded, mishaps
        self.random = random.Random(seed)
        self.processes: list[subprocess.Popen[str]] = []
        self.running: dict[int, float] = {}
        self.stopped: dict[int, list[tuple[float, float]]] = defaultdict(list)
        self.started = 0
        self.misfortunes: Counter[str] = Counter()
        self.figures: Counter[str] = Counter()
        self.away: list[tuple[float, float]] = []
        self.dsn = ""

    def run(self, *, grants: int, seconds: float, crash_every: float = 1e9, until_lost: bool = False) -> Report:
        """At most `seconds`; until so many grants were made, or, if asked for, an update was lost."""
        self.dsn = self.server.create_database(f"torture_{os.getpid()}_{time.monotonic_ns()}", template="template0")
        self._prepare()
        began = time.monotonic()
        crash_at = began + crash_every
        try:
            for _ in range(self.workers):
                self._start()
            while time.monotonic() - began < seconds and self._grants() < grants:
                if until_lost and self._has_lost():
                    break
                deadline = time.monotonic() + 0.5
                while time.monotonic() < deadline:
                    self._wake_the_stopped()
                    time.sleep(0.05)
                if self.mishaps:
                    self._misfortune()
                if time.monotonic() > crash_at:
                    self._crash()
                    crash_at = time.monotonic() + crash_every
                self._replace_the_dead()
            self._finish()
            return self._judge(time.monotonic() - began)
        finally:
            for process in self.processes:
                process.kill()
                process.wait()
                assert process.stdout is not None
                process.stdout.close()

    # What happens

    def _prepare(self) -> None:
        engine = connect(self.dsn, settings=SETTINGS)
        engine.init_schema()
        for name, capacity in CAPACITIES.items():
            engine.set_capacity(name, capacity)
        engine.close()
        with self._sql() as sql:
            sql.execute(TABLES)
            sql.execute(witness.INSTALL)
            for name in MUTEXES:
                sql.execute("insert into counter values (%s, 0)", (name,))

    def _sql(self) -> Any:
        return psycopg.connect(self.dsn, autocommit=True)

    def _grants(self) -> int:
        with contextlib.suppress(psycopg.Error), self._sql() as sql:
            return int(
                sql.execute(
                    "select count(*) from lockprovider.lease_event where event in ('granted', 'confirmed')"
                ).fetchone()[0]
            )
        return 0

    def _has_lost(self) -> bool:
        with self._sql() as sql:
            twice = "select lock_name, before from ledger group by lock_name, before having count(*) > 1"
            return sql.execute(twice).fetchone() is not None

    def _start(self) -> None:
        options = {"seed": self.seed, "number": self.started, "guarded": self.guarded, "mishaps": self.mishaps}
        self.started += 1
        self.processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "tests.faults.torture_worker", self.dsn, json.dumps(options)],
                cwd=REPOSITORY,
                stdout=subprocess.PIPE,
                text=True,
            )
        )

    def _misfortune(self) -> None:
        process = self.random.choice(self.processes)
        what = self.random.choices(["SIGKILL", "SIGSTOP", "connection cut", "nothing"], [1, 1, 2, 2])[0]
        if what == "SIGKILL":
            process.kill()
        elif what == "SIGSTOP":
            process.send_signal(signal.SIGSTOP)
        elif what == "connection cut":
            with contextlib.suppress(psycopg.Error), self._sql() as sql:
                sql.execute(
                    "select pg_terminate_backend(pid) from (select pid from pg_stat_activity"
                    " where datname = current_database() and pid <> pg_backend_pid() order by random() limit 1) one"
                )
        if what != "nothing":
            self.misfortunes[what] += 1

    def _crash(self) -> None:
        """An immediate end of the server, and its return."""
        self.misfortunes["server crash"] += 1
        began = time.time()
        self.server.crash()
        self.server.start()
        self.away.append((began, time.time() + SETTINGS.skip_after))

    def _wake_the_stopped(self) -> None:
        """Whoever has been stopped for longer than a lease lives goes on. Notes from when to when it was stopped."""
        for process in self.processes:
            now = time.time()
            if process.poll() is not None or not _is_stopped(process.pid):
                self.running[process.pid] = now
            elif now - (since := self.running.setdefault(process.pid, now)) > SETTINGS.ttl * 1.3:
                self.stopped[process.pid].append((since, now))
                process.send_signal(signal.SIGCONT)

    def _replace_the_dead(self) -> None:
        for process in list(self.processes):
            if process.poll() is not None:
                if process.returncode != -signal.SIGKILL:
                    raise RuntimeError(f"a client ended by itself, with exit code {process.returncode}")
                self.processes.remove(process)
                assert process.stdout is not None
                process.stdout.close()
                self._start()

    def _finish(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 30
        while any(process.poll() is None for process in self.processes) and time.monotonic() < deadline:
            self._wake_the_stopped()
            time.sleep(0.05)
        for process in self.processes:
            if process.poll() == 0:
                assert process.stdout is not None
                self.figures.update(json.loads(process.stdout.read()))
            elif process.poll() is None:
                self.misfortunes["did not end in time"] += 1
                process.send_signal(signal.SIGUSR1)  # it says where it is

    # What it shows

    def _judge(self, seconds: float) -> Report:
        report = Report(self.seed, self.guarded, round(seconds, 1), self._grants())
        with self._sql() as sql:
            events, writes = history.read(sql)
            changes = witness.read(sql)
            counters = dict(sql.execute("select lock_name, n from counter").fetchall())
            asked = sql.execute("select lock_name, owner_id from asked").fetchall()
            still = set(sql.execute("select lock_name, owner_id from lockprovider.waiter").fetchall())
            late = self._late(sql, witness.takeovers(changes, MUTEXES), report)
        lost = history.lost_updates(writes, counters)
        report.increments, report.lost_updates = len(writes), len(lost)
        report.out_of_turn = len(history.overtaken(event for event in events if event.lock_name in MUTEXES))
        report.findings = [
            *history.overlaps(events, CAPACITIES),
            *witness.overlaps(changes, CAPACITIES),
            *witness.early_ends(changes, events),
            *witness.unrecorded(changes, events),
            *history.shrinking_tokens(events),
            *lost,
            *history.late_writes(events, writes, MUTEXES),
            *history.lost_waiters(events, asked, still),
            *late,
            *self._stuck_locks(),
        ]
        report.misfortunes, report.clients = dict(self.misfortunes), dict(sorted(self.figures.items()))
        return report

    def _late(self, sql: Any, takeovers: list[witness.Takeover], report: Report) -> list[str]:
        """Takeovers that took too long, though the server was there and who took over was not stopped."""
        found: list[str] = []
        times: dict[bool, list[float]] = {False: [], True: []}
        for one in takeovers:
            pid = int(one.owner.rpartition(":")[2])
            late = witness.lateness(one, [*self.away, *self.stopped[pid]])
            times[one.drained].append(late)
            if late > (report.drained_bound if one.drained else report.takeover_bound):
                what = "drained" if one.drained else "was over"
                line = witness.line(sql, one.lock_name, one.granted_at - 0.05)
                found.append(
                    f"{one.lock_name}: token {one.token} of {one.owner} came {late:.3f} s after what {what} before it; "
                    f"in line were {'; '.join(line)}"
                )
        report.takeovers, report.drained = len(times[False]), len(times[True])
        report.takeover_p50 = round(statistics.median(times[False] or [0.0]), 3)
        report.takeover_longest = round(max(times[False], default=0.0), 3)
        report.drained_longest = round(max(times[True], default=0.0), 3)
        return found

    def _stuck_locks(self) -> list[str]:
        """After all that, every lock can be had again when the dead are over."""
        engine = connect(self.dsn, settings=SETTINGS)
        found = []
        for name in CAPACITIES:
            deadline = time.monotonic() + SETTINGS.ttl + WITHIN + GUARD + SLACK
            answer: Any = None
            try:
                while not (answer := engine.try_acquire(name)) and time.monotonic() < deadline:
                    time.sleep(0.05)
            except LockProviderError as error:
                found.append(f"{name}: could not be taken at the end: {error}")
                continue
            if isinstance(answer, Busy):
                found.append(f"{name}: is stuck: {answer}")
        engine.close()
        return found


def _is_stopped(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "T"
    return False


@contextlib.contextmanager
def server() -> Any:
    """A server of its own, since it will crash."""
    folder = tempfile.mkdtemp(prefix="lockprovider-torture-")
    try:
        with Server(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make torture", description="The long fault run of the lease engine.")
    parser.add_argument("--grants", type=int, default=10_000, help="end after so many (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=600, help="…or after this time (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="another run of misfortunes (default %(default)s)")
    parser.add_argument("--workers", type=int, default=8, help="client processes (default %(default)s)")
    parser.add_argument("--unguarded", action="store_true", help="the negative twin: must lose updates")
    parser.add_argument("--json", default=".demo/torture.json", help="figures go here (default %(default)s)")
    given = parser.parse_args()
    with server() as running:
        torture = Torture(running, seed=given.seed, workers=given.workers, guarded=not given.unguarded, mishaps=1.0)
        report = torture.run(grants=given.grants, seconds=given.seconds, crash_every=20.0)
    figures = vars(report)
    target = Path(given.json)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    for name, value in figures.items():
        shown = ", ".join(f"{key}: {number}" for key, number in value.items()) if isinstance(value, dict) else value
        print(f"{name.replace('_', ' '):18}{shown if name != 'findings' else len(value)}")
    for finding in report.findings[:20]:
        print(f"  found: {finding}")
    if report.grants < given.grants:
        print(f"only {report.grants} of {given.grants} grants in {given.seconds:g} s: give it more time (--seconds)")
        return 1
    return 0 if bool(report.lost_updates) == given.unguarded and (given.unguarded or not report.findings) else 1


if __name__ == "__main__":
    sys.exit(main())
