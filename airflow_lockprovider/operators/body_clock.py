"""``execution_timeout`` limits the body alone.

Airflow arms its timer before ``execute()`` (task_runner.py, ``_run_execute_callable``), so it would also count the time
in which a worker asks for the lock, lingers or stands by, and it could go off in the middle of giving the lock back.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta


class BodyClock:
    """Stops Airflow's timer while the task does something else than its work.

    ::

        clock = BodyClock(task.execution_timeout)
        with clock.stopped():
            ...  # ask for the lock, wait on the worker
            with clock.running():
                ...  # the body: has the whole execution_timeout

    The handler stays Airflow's own. Without an execution_timeout, and outside the main thread (where Airflow has no
    timer either), both do nothing.
    """

    def __init__(self, limit: timedelta | None) -> None:
        self._limit = limit.total_seconds() if limit else 0.0

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """No timeout within the block, but in `running`. The timer stays off: nothing of the leg follows."""
        self._arm(0)
        yield

    @contextmanager
    def running(self) -> Iterator[None]:
        """Within the block the body may take the whole time from now."""
        self._arm(self._limit)
        try:
            yield
        finally:
            self._arm(0)

    def _arm(self, seconds: float) -> None:
        if self._limit > 0 and threading.current_thread() is threading.main_thread():
            signal.setitimer(signal.ITIMER_REAL, seconds)
