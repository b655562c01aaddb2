"""A writer that is frozen in the middle of its work and wakes up when its lease is long gone.

``python -m airflow_lockprovider.demo.late_owner`` is that writer: it takes the lock, waits for a line on stdin, and
writes in a guarded transaction. `freeze_and_replace` is what happens to it. SIGSTOP freezes it as a long pause or a
suspended machine would: nothing in it can notice.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass

from airflow_lockprovider.demo.leash import leashed
from airflow_lockprovider.lease import LeaseEngine, connect
from airflow_lockprovider.lease.errors import LeaseLost
from airflow_lockprovider.lease.model import Lease

LOCK = "demo.late_write"
TTL = 3.0
_DSN = "LOCKPROVIDER_DEMO_DSN"
_TABLE = "create schema if not exists demo; create table if not exists demo.late_write (token bigint, writer text)"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What both writers experienced."""

    late_token: int
    successor_token: int
    said: str
    """The late writer's last words."""
    refused: bool


def write(engine: LeaseEngine, lease: Lease, writer: str) -> None:
    """One row, in one transaction with the check that the lease is still ours."""
    with engine.fenced(lease) as cursor:
        cursor.execute("insert into demo.late_write values (%s, %s)", (lease.token, writer))


def freeze_and_replace(dsn: str) -> Outcome:
    """Let a writer take the lock, freeze it, let a successor write, and wake the first one up."""
    engine = connect(dsn)
    try:
        with engine.store.transaction() as connection:
            connection.cursor().execute(_TABLE)
        return _meet(engine, dsn)
    finally:
        engine.close()


def _meet(engine: LeaseEngine, dsn: str) -> Outcome:
    with subprocess.Popen(
        leashed([sys.executable, "-m", "airflow_lockprovider.demo.late_owner"], grace=1),
        env={**os.environ, _DSN: dsn},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as leash:
        assert leash.stdin is not None
        assert leash.stdout is not None
        try:
            words = leash.stdout.readline().split()
            if len(words) != 2:
                raise RuntimeError(f"the late writer did not get its lock {LOCK!r}: it said {words}")
            token, pid = int(words[0]), int(words[1])
            os.kill(pid, signal.SIGSTOP)
            leash.stdin.write("write\n")
            leash.stdin.flush()
            successor = engine.acquire(LOCK, wait_timeout=10 * TTL, ttl=60, owner="the successor")
            try:
                write(engine, successor, "the successor")
                os.kill(pid, signal.SIGCONT)
                said = leash.stdout.readline().strip()
            finally:
                engine.release(successor)
            return Outcome(token, successor.token, said, refused=said.startswith("refused"))
        finally:
            leash.terminate()


def main() -> None:
    """The late writer."""
    engine = connect(os.environ[_DSN])
    lease = engine.acquire(LOCK, ttl=TTL, owner="the late writer")
    print(lease.token, os.getpid(), flush=True)
    sys.stdin.readline()
    try:
        write(engine, lease, "the late writer")
    except LeaseLost as loss:
        print(f"refused: {loss}", flush=True)
    else:
        print("written", flush=True)


if __name__ == "__main__":
    main()
