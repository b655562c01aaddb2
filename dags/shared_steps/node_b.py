"""Node B: the step that two DAGs share. It must never run twice at the same time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from airflow.sdk import Param

from airflow_lockprovider import Lease, LeaseHook

LOCK = "node_b"

_STARTED = "insert into demo.node_b_run (dag_id, run_id, token, started_at) values (%s, %s, %s, clock_timestamp())"
_ENDED = "update demo.node_b_run set ended_at = clock_timestamp() where dag_id = %s and run_id = %s and token = %s"


def node_b_seconds() -> Param:
    """How long Node B works, for the trigger form."""
    return Param(6, type="number", minimum=0, maximum=600, title="Seconds that Node B works")


def run_node_b(lease: Lease, params: Mapping[str, Any], ti: Any) -> int:
    """Write "started", work for a while, write "ended"; return the token under which that happened.

    Both writes are guarded: an owner that has lost its lease meanwhile (a frozen machine, a long pause) gets
    `LeaseLost`, and nothing of it reaches the table.
    """
    locks = LeaseHook()
    who = (ti.dag_id, ti.run_id, lease.token)
    with locks.fenced(lease) as cursor:
        cursor.execute(_STARTED, who)
    time.sleep(float(params["node_b_seconds"]))
    with locks.fenced(lease) as cursor:
        cursor.execute(_ENDED, who)
    return lease.token
