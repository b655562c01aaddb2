"""Stops the work of a thread by raising an exception inside it."""

from __future__ import annotations

import ctypes
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self


class Interrupter:
    """Raises an error in the thread that entered the context, on behalf of another thread.

    In the main thread a signal (SIGUSR1) is used: it also wakes blocking system calls. In other threads Python can
    raise only between bytecodes, so a blocking call there ends first. Either way code in C that never returns to the
    interpreter goes on: only the guard stops its writes.

    The error is raised once, and never after the context was left. Contexts may be nested: each keeps to its own error.
    """

    def __init__(self) -> None:
        self._thread = threading.current_thread()
        self._main = self._thread is threading.main_thread() and hasattr(signal, "SIGUSR1")
        self._lock = threading.Lock()
        self._active = False
        self._error: BaseException | None = None
        self._previous: Any = None

    def __enter__(self) -> Self:
        if self._main:
            self._previous = signal.signal(signal.SIGUSR1, self._raise)
        self._active = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._active = False  # from here on the signal raises nothing
        with self._lock:
            if self._main:
                self._restore()
            elif self._error is not None:
                # Asked for, but perhaps not raised yet: it must not hit what comes after us.
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread.ident or 0), None)

    def interrupt(self, error: BaseException) -> bool:
        """Raise ``error`` in the thread of the context. False: it has already left, or was interrupted before."""
        with self._lock:
            if not self._active or self._error is not None:
                return False
            self._error = error
            ident = self._thread.ident
            assert ident is not None
            if self._main:
                signal.pthread_kill(ident, signal.SIGUSR1)
            else:
                # An instance cannot be handed over, only a class: make one that carries this error's text.
                kind = type(
                    type(error).__name__,
                    (_Carried, type(error)),
                    {"carried": error, "__module__": type(error).__module__},
                )
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(kind))
            return True

    def _restore(self) -> None:
        # Only if it is ours: an inner context is still there, or somebody has put a handler of his own.
        if self._previous is not None and signal.getsignal(signal.SIGUSR1) == self._raise:
            signal.signal(signal.SIGUSR1, self._previous)
            self._previous = None

    def _raise(self, signum: int, frame: FrameType | None) -> None:
        previous = self._previous
        if self._error is None:
            # Not for us: an outer context's, or the program's own.
            if callable(previous):
                previous(signum, frame)
            return
        if not self._active:
            return
        # The error may cut __exit__ itself short, so tidy up before.
        self._active = False
        self._restore()
        raise self._error


class _Carried(BaseException):
    carried: BaseException

    def __init__(self, *args: object) -> None:
        super().__init__(*(args or self.carried.args))
        self.__dict__.update(self.carried.__dict__)

    def __reduce__(self) -> Any:
        return self.carried.__reduce__()
