"""A trigger must not fire too early.

Airflow 3.3.2 fails a task whose trigger has it queued again before the scheduler has drained the executor's "success"
of the leg that deferred it (scheduler_job_runner.py, ``process_executor_events``; upstream #67287, #71580). That
success can be late: a task's supervisor that sees the sockets close before the process is gone waits for its next
heartbeat (supervisor.py, ``_monitor_subprocess``), so for up to ``[workers] min_heartbeat_interval``.
"""

from __future__ import annotations

import asyncio
import time

from airflow_lockprovider.compat import conf

MARGIN = 3.0
"""Seconds for the way from the executor to the scheduler."""


def settle_time() -> float:
    """Seconds between the start of a trigger and its first event."""
    return float(conf.getfloat("workers", "min_heartbeat_interval", fallback=5.0)) + MARGIN


class Settled:
    """Counts from the moment it is made."""

    def __init__(self) -> None:
        self.at = time.monotonic() + settle_time()

    async def wait(self) -> None:
        """Return when an event may be fired."""
        if (left := self.at - time.monotonic()) > 0:
            await asyncio.sleep(left)
