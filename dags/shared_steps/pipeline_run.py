"""The work of a pipeline that runs only once at a time."""

from __future__ import annotations

import time
from typing import Any

from airflow_lockprovider import Lease, LeaseHook

_SIGNAL = "select lock_name, held, token, owner, expires_in from lockprovider.locks where lock_name = %s"
_DONE = "insert into demo.pipeline_run (dag_id, run_id, token, ended_at) values (%s, %s, %s, clock_timestamp())"


def record_run(lease: Lease, seconds: float, ti: Any) -> int:
    """Print the signal row, work, and write down that it was done; returns the token."""
    locks = LeaseHook()
    with locks.fenced(lease) as cursor:
        cursor.execute(_SIGNAL, (lease.lock_name,))
        print(
            "the signal row:", dict(zip((column[0] for column in cursor.description), cursor.fetchone(), strict=True))
        )
    time.sleep(seconds)
    with locks.fenced(lease) as cursor:
        cursor.execute(_DONE, (ti.dag_id, ti.run_id, lease.token))
    return lease.token
