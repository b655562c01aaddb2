"""Turns a SIGTERM into the end of the work.

Airflow's own handler only calls ``on_kill()``, and the body goes on until it is killed (task_runner.py, ``_on_term``).
Under a lock the body has to unwind, so that the lease can be given back when the work has really stopped.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger(__name__)


class TaskAborted(BaseException):
    """The task was asked to stop (SIGTERM). No Exception, so that no ``except Exception`` in the body swallows it."""


@contextmanager
def aborting_on_sigterm() -> Iterator[None]:
    """Within the block SIGTERM calls the handler that was there before, then raises TaskAborted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.getsignal(signal.SIGTERM)
    this_process = os.getpid()

    def abort(signum: int, frame: FrameType | None) -> None:
        try:
            if callable(previous):
                previous(signum, frame)
        except Exception:
            log.exception("on_kill() failed, external work may go on")
        if os.getpid() == this_process:  # a child that the body has forked inherits this handler
            raise TaskAborted("the task was asked to stop (SIGTERM)")

    signal.signal(signal.SIGTERM, abort)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
