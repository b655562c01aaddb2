"""Cuts calls to a database that does not answer any more.

A server that is frozen, or a network that swallows packets, keeps a client waiting for ever: the server's own timeouts
do not run, and TCP sees nothing wrong while the peer's kernel acknowledges. So the client has to give up by itself.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

log = logging.getLogger(__name__)

_TICK = 0.1
_IDLE = 10.0
"""Seconds without a call after which the thread ends."""


class Watchdog:
    """One thread that looks at all calls that are under way, and shuts the socket of those that take too long."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[object, tuple[float, int]] = {}
        self._running = False
        self._last = 0.0
        self._pid = os.getpid()

    @contextmanager
    def limit(self, connection: Any, seconds: float) -> Iterator[None]:
        """Cut the connection if the body takes longer. A driver that does not show its socket is left alone."""
        if self._pid != os.getpid():
            self._reset()  # after a fork: the thread stayed with the parent
        if not hasattr(connection, "fileno"):
            yield
            return
        call = object()
        now = time.monotonic()
        with self._lock:
            self._calls[call] = (now + seconds, connection.fileno())
            self._last = now
            if not self._running:
                self._running = True
                threading.Thread(target=self._look, name="lease-watchdog", daemon=True).start()
        try:
            yield
        finally:
            with self._lock:
                self._calls.pop(call, None)

    def _look(self) -> None:
        while True:
            time.sleep(_TICK)
            now = time.monotonic()
            with self._lock:  # so that no socket is closed, and its number used again, meanwhile
                for call, (deadline, number) in list(self._calls.items()):
                    if deadline <= now:
                        del self._calls[call]
                        _shut(number)
                if not self._calls and now - self._last > _IDLE:
                    self._running = False
                    return


def _shut(number: int) -> None:
    log.warning("the database with the locks does not answer: its connection is cut")
    try:
        with socket.socket(fileno=os.dup(number)) as copy:
            copy.shutdown(socket.SHUT_RDWR)
    except OSError:
        log.debug("cutting a connection failed", exc_info=True)
