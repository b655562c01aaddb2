"""Several processes that live and end together."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType, TracebackType
from typing import TypeVar

from airflow_lockprovider.demo.leash import LAST_WORDS, descendants, leashed

_LOG_TAIL = 30  # lines that a failure shows
_POLL = 0.1
_STOPPING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

Resource = TypeVar("Resource")


class ProcessEndedError(RuntimeError):
    """A process that should have gone on has ended, or one that should have succeeded has failed."""


class Supervisor:
    """Starts processes, notices when one ends, and ends them all.

    Whatever ends the `with` block (its end, an exception, Ctrl-C, SIGTERM) stops the processes, the last one
    first, and then what was given to `hold`. A second Ctrl-C does not wait any longer. Should we be killed
    outright, the leash of each process stops it. Each writes to a log file of its own in `logs`.
    """

    def __init__(self, logs: str | os.PathLike[str], *, grace: float = 30.0) -> None:
        self.logs = Path(logs)
        self._grace = grace
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._watched: list[Callable[[], str | None]] = []
        self._held = contextlib.ExitStack()
        self._signals = contextlib.ExitStack()
        self._stopping = False

    # -- what it looks after

    def start(
        self,
        name: str,
        command: Sequence[str | os.PathLike[str]],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        nudge: float | None = None,
    ) -> None:
        """Starts `command`, which is expected to run until it is told to stop (a second time after `nudge` s)."""
        if name in self._processes:
            raise ValueError(f"a process named {name!r} was started already")
        self.logs.mkdir(parents=True, exist_ok=True)
        with self.log_file(name).open("wb") as log:
            self._processes[name] = subprocess.Popen(
                leashed(command, grace=self._grace, nudge=nudge),
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us, who know the order
            )

    def run(
        self,
        name: str,
        command: Sequence[str | os.PathLike[str]],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
    ) -> None:
        """Runs `command` to its end, which has to be a success; meanwhile the others are watched."""
        self.start(name, command, env=env, cwd=cwd)
        process = self._processes[name]
        try:
            while process.poll() is None:
                self._check(ignore=name)
                time.sleep(_POLL)
        finally:
            if process.poll() is not None:
                del self._processes[name]
        if process.returncode:
            raise ProcessEndedError(self._obituary(name, process.returncode))

    def hold(self, resource: AbstractContextManager[Resource]) -> Resource:
        """Enters `resource` now and leaves it when all processes are gone: for what they need to the end."""
        return self._held.enter_context(resource)

    def watch(self, ended: Callable[[], str | None]) -> None:
        """Asks `ended` at every check; an answer that is not None counts like the death of a process."""
        self._watched.append(ended)

    def pids(self) -> dict[str, int]:
        """The process to signal or to measure by the name it was started with (its leash: the tree's root)."""
        return {name: process.pid for name, process in self._processes.items()}

    def log_file(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    # -- what its user calls while they run

    def check(self) -> None:
        """Raises ProcessEndedError with the end of its log when one of them is not running any more."""
        self._check(ignore=None)

    def wait(self, seconds: float | None = None) -> None:
        """Lets time pass while checking; without `seconds` until something ends it."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            self.check()
            left = _POLL if deadline is None else deadline - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(_POLL, left))

    # -- life

    def __enter__(self) -> Supervisor:
        if threading.current_thread() is threading.main_thread():  # nobody else may set handlers
            for number in _STOPPING:
                before = signal.signal(number, self._told_to_stop)
                self._signals.callback(signal.signal, number, before)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            self._signals.close()

    def stop(self) -> None:
        """Ends all processes, then what was held. Bounded by the grace time and a few seconds."""
        self._stopping = True
        with self._held:
            deadline = time.monotonic() + self._grace
            for process in self._in_reverse():
                # One after the other: what was started first may be needed by the others to end in good order.
                _terminate(process)
                if not _ended_within(process, deadline - time.monotonic()):
                    _terminate(process)
                    if not _ended_within(process, LAST_WORDS + 5):
                        _kill(process)  # its leash does not do its work
            self._processes.clear()
            self._watched.clear()

    def _told_to_stop(self, number: int, _frame: FrameType | None) -> None:
        if self._stopping:
            for process in self._in_reverse():
                _terminate(process)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise SystemExit(128 + number)

    # -- how

    def _check(self, ignore: str | None) -> None:
        for name, process in self._processes.items():
            if name != ignore and process.poll() is not None:
                raise ProcessEndedError(self._obituary(name, process.returncode))
        for ended in self._watched:
            if (message := ended()) is not None:
                raise ProcessEndedError(message)

    def _obituary(self, name: str, code: int) -> str:
        lines = self.log_file(name).read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL:]
        tail = "\n".join(f"  {line}" for line in lines) or "  (nothing)"
        return f"{name} ended with {_told(code)}; {self.log_file(name)} ends with:\n{tail}"

    def _in_reverse(self) -> Iterator[subprocess.Popen[bytes]]:
        return iter([*reversed(self._processes.values())])


def _terminate(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()


def _ended_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(max(0.0, seconds))
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill(process: subprocess.Popen[bytes]) -> None:
    for pid in (process.pid, *descendants(process.pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def _told(code: int) -> str:
    """An exit code in words: the leash reports a signal as 128 plus its number."""
    with contextlib.suppress(ValueError):
        return f"exit code {code} ({signal.Signals(code - 128).name})" if code > 128 else f"exit code {code}"
    return f"exit code {code}"
