"""The command that runs under the lease: one process group, which can be told, stopped and waited for as a whole."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from airflow_lockprovider.shell.terminal import Terminal

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


class CommandError(Exception):
    """The command could not be started. ``errno`` says why."""

    def __init__(self, name: str, number: int) -> None:
        super().__init__(f"{name}: {os.strerror(number)}")
        self.errno = number


class Command:
    """A running command. It leads a process group of its own and has our stdin, stdout and stderr untouched."""

    def __init__(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        handled: Sequence[int],
        before: Callable[[int], object] = lambda group: None,
    ) -> None:
        """Start it. Call this while the process has one thread: it forks.

        ``handled``: signals that get their default action back. ``before`` is called with the process group when
        there is one, and before anything of the command runs. Raises CommandError.
        """
        self.status: int | None = None
        """Exit code as shells count it, as soon as it has ended."""
        self.terminal = Terminal()
        tie = _parent_death_tie()
        reader, writer = os.pipe()  # closed by a successful exec; else the reason comes through it
        gate, opener = os.pipe()  # the command waits here; closed unopened, it ends instead: nobody looks after it
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            parent = os.getpid()
            self.pid = os.fork()
            if self.pid == 0:
                os.close(reader)
                os.close(opener)
                self._become(words, environment, handled, mask, writer, parent, tie, gate)
            # In both processes, so that neither is ahead of the other.
            _set_group(self.pid)
            self.terminal.give(self.pid)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(writer)
        os.close(gate)
        with os.fdopen(reader, "rb") as pipe:
            try:
                before(self.pid)
                with contextlib.suppress(BrokenPipeError):  # it has been killed already
                    os.write(opener, b"!")
            finally:
                os.close(opener)
            reason = pipe.read()
        if reason:
            os.waitpid(self.pid, 0)
            self.terminal.take_back()
            raise CommandError(words[0], int(reason))

    def _become(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        handled: Sequence[int],
        mask: Any,
        writer: int,
        parent: int,
        tie: Any,
        gate: int,
    ) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            _set_group(0)
            self.terminal.give(os.getpid())
            if tie is not None:
                tie(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
                if os.getppid() != parent:  # it died before the tie was made
                    os._exit(1)
            if not os.read(gate, 1):
                os._exit(1)
            for number in (*handled, *_IGNORED_BY_PYTHON):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.execvpe(words[0], list(words), dict(environment))
        except OSError as error:
            os.write(writer, str(error.errno or errno.EIO).encode())
        except BaseException:
            os.write(writer, str(errno.EIO).encode())
        finally:
            os._exit(1)

    def signal(self, number: int) -> bool:
        """Send a signal to the whole group. False: nobody is left in it."""
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True  # somebody is there (on macOS also: only a zombie), and belongs to another user
        return True

    def ended(self, status: int) -> None:
        """What waitpid has said of it."""
        if os.WIFSTOPPED(status):
            self.terminal.suspended(self.pid)
        elif os.WIFSIGNALED(status):
            self.status = 128 + os.WTERMSIG(status)
        elif os.WIFEXITED(status):
            self.status = os.WEXITSTATUS(status)

    def end_rest(self, grace: float, reap: Callable[[], object]) -> None:
        """After the command has ended: end what it has left behind in its group. ``reap`` takes note of what ends."""
        give_up = time.monotonic() + grace
        if not self.signal(signal.SIGTERM):
            return
        self.signal(signal.SIGCONT)
        while self.signal(0):
            if time.monotonic() >= give_up:
                self.signal(signal.SIGKILL)
                return
            reap()
            time.sleep(0.01)


def reap() -> dict[int, int]:
    """Take note of all children that have ended or stopped: as PID 1, orphans of others are among them."""
    found: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        found[pid] = status


def _set_group(pid: int) -> None:
    # If it fails: the other process has done it, and the command is already running, or over.
    with contextlib.suppress(PermissionError, ProcessLookupError):
        os.setpgid(pid, pid)


def _parent_death_tie() -> Any:
    # Looked up before the fork: afterwards, nothing that may take a lock.
    return getattr(ctypes.CDLL(None), "prctl", None) if sys.platform == "linux" else None
