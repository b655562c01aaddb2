"""Signals as events: first they end the wait for the lock, later they are passed on to the command."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from types import FrameType, TracebackType
from typing import Any, Self

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
_ONLY_FORWARDED = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTSTP, signal.SIGCONT)


class Stopped(BaseException):
    """A signal asked us to end while there was no command yet."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Signals:
    """Handlers for the time of the context. Every signal also wakes `wait`.

    As PID 1 of a container a process gets only signals that it has handlers for: so these are installed first of all.
    A signal that was ignored when we started (``nohup``) stays ignored, for the command too.
    """

    def __init__(self) -> None:
        self._forwarding = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)
        self._outer = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._handle(signal.SIGCHLD)
        for number in ENDING:
            self._handle(number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._outer)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)

    @property
    def handled(self) -> list[int]:
        """What has a handler now, and must have its default action back in the command."""
        return list(self._before)

    def forward(self) -> None:
        """From now on signals do not end us: `wait` tells of them."""
        self._forwarding = True
        for number in _ONLY_FORWARDED:
            self._handle(number)
        self._read()

    def wait(self, seconds: float) -> list[int]:
        """Signals that have come, at the latest after ``seconds``; perhaps none."""
        select.select([self._reader], [], [], max(0.0, seconds))
        return [number for number in self._read() if number in self._before]

    def wake(self) -> None:
        """Let `wait` return now. From any thread."""
        with contextlib.suppress(BlockingIOError):  # full: it will wake up
            os.write(self._writer, b"\0")

    def _handle(self, number: int) -> None:
        if number == signal.SIGCHLD or signal.getsignal(number) is not signal.SIG_IGN:
            self._before[number] = signal.signal(number, self._came)

    def _came(self, number: int, frame: FrameType | None) -> None:
        if not self._forwarding and number in ENDING:
            self._forwarding = True  # once: the way out must not be interrupted again
            raise Stopped(number)

    def _read(self) -> bytes:
        try:
            return os.read(self._reader, 4096)
        except BlockingIOError:
            return b""
