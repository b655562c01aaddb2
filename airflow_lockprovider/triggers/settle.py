"""A trigger must not fire too early.

Airflow 3.3.2 fails a task whose trigger fires before the scheduler has drained the executor's "success" of the leg that
deferred it (scheduler_job_runner.py, ``_process_executor_events``; upstream #67287, #71580).
"""

from __future__ import annotations

import asyncio
import time

SETTLE = 3.0
"""Seconds between the start of a trigger and its first event."""


class Settled:
    """Counts from the moment it is made."""

    def __init__(self) -> None:
        self.at = time.monotonic() + SETTLE

    async def wait(self) -> None:
        """Return when an event may be fired."""
        if (left := self.at - time.monotonic()) > 0:
            await asyncio.sleep(left)
