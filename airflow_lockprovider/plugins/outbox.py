"""Work that a scheduler must not wait for, done by one thread of its own."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable

from airflow_lockprovider.metrics import count

log = logging.getLogger(__name__)

_ROOM = 1000


class Outbox:
    """Does one piece of work after the other, soon. Full, it drops what comes: that is logged and counted."""

    def __init__(self, name: str, *, room: int = _ROOM) -> None:
        self._name, self._room = name, room
        self._pid: int | None = None
        self._queue: queue.Queue[Callable[[], object]] = queue.Queue(room)

    def put(self, work: Callable[[], object]) -> None:
        """Never waits."""
        if self._pid != os.getpid():  # the first in this process; a thread does not outlive a fork
            self._pid = os.getpid()
            self._queue = queue.Queue(self._room)
            threading.Thread(target=self._run, args=(self._queue,), name=self._name, daemon=True).start()
        try:
            self._queue.put_nowait(work)
        except queue.Full:
            count("alerts_dropped")
            log.error("%s: %d are waiting already, one more is dropped", self._name, self._room)

    def drain(self, limit: float) -> bool:
        """Wait until all is done, for ``limit`` seconds at most."""
        if self._pid != os.getpid():
            return True
        end = time.monotonic() + limit
        while self._queue.unfinished_tasks and time.monotonic() < end:
            time.sleep(0.02)
        return not self._queue.unfinished_tasks

    def _run(self, work: queue.Queue[Callable[[], object]]) -> None:
        while True:
            piece = work.get()
            try:
                piece()
            except Exception:
                log.exception("%s: failed", self._name)
            finally:
                work.task_done()
