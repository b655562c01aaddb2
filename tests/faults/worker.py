"""What the processes of the fault tests run. Started as: python -m tests.faults.worker KIND DSN JSON."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from airflow_lockprovider.lease import LeaseEngine, LeaseLost, LeaseSettings, connect

SETTINGS = LeaseSettings(ttl=1.5, handover_ttl=1.5, skip_after=1.0, poll_interval=0.1)


def say(**words: Any) -> None:
    """Tell the test, one JSON object per line."""
    print(json.dumps(words, default=str), flush=True)


def rounds(engine: LeaseEngine, *, count: int, waiting: bool) -> None:
    """Take the lock, be seen inside, give it back, many times."""
    done = busy = 0
    say(ready=True)
    sys.stdin.readline()
    with engine.store.transaction() as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        while done < count:
            if waiting:
                lease = engine.acquire("x", wait_timeout=60, ttl=30)
            elif not (lease := engine.try_acquire("x", ttl=30)):  # type: ignore[assignment]
                busy += 1
                time.sleep(0.001)
                continue
            # Two statements, each committed: whoever else is inside is seen, whatever the locks do.
            cursor.execute("insert into inside (token) values (%s)", (lease.token,))
            cursor.execute("insert into seen (token, others) select %s, count(*) from inside", (lease.token,))
            cursor.execute("delete from inside where token = %s", (lease.token,))
            assert engine.release(lease)
            done += 1
    say(done=done, busy=busy)


def hold(engine: LeaseEngine, *, keep: bool) -> None:
    """Take the lock and sit on it. A line on stdin: try a guarded write."""
    lease = engine.acquire("x", wait_timeout=30)
    say(token=lease.token, expires_at=lease.expires_at)
    if keep:
        while True:
            time.sleep(0.2)
            lease = engine.renew(lease)
    sys.stdin.readline()
    try:
        with engine.fenced(lease) as cursor:
            cursor.execute("insert into written values (%s, 'late')", (lease.token,))
        say(wrote=True)
    except LeaseLost as error:
        say(wrote=False, reason=str(error))


def guarded(engine: LeaseEngine) -> None:
    """Take the lock and stay inside a guarded transaction."""
    lease = engine.acquire("x", wait_timeout=30)
    with engine.fenced(lease) as cursor:
        cursor.execute("insert into written values (%s, 'killed')", (lease.token,))
        say(token=lease.token)
        sys.stdin.readline()


def kept(engine: LeaseEngine) -> None:
    """Hold the lock with its keeper running, until it is lost."""
    try:
        with engine.hold("x") as lease:
            say(token=lease.token)
            time.sleep(60)
    except LeaseLost as error:
        say(lost=str(error))


if __name__ == "__main__":
    kind, dsn, options = sys.argv[1:]
    globals()[kind](connect(dsn, settings=SETTINGS), **json.loads(options))
