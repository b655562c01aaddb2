"""A second process that ends the command when the first one cannot: because it was killed, or is frozen."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import struct
import time
from typing import NoReturn

from airflow_lockprovider.lease import clock

_DEADLINE = struct.Struct("d")
_DISMISSED, _ACTED = 0, 1
_LOOK = 1.0
"""Seconds between two looks at the clock: a wait does not count the time that a suspended machine sleeps."""


class Guardian:
    """Watches a process group until it is dismissed.

    It ends the group (SIGTERM, after ``grace`` seconds SIGKILL) when our process is gone, or when the last deadline
    that it was told has passed: then nobody renews the lease any more.
    """

    def __init__(self, group: int, deadline: float, grace: float) -> None:
        """Start it. Call this while the process has one thread: it forks. ``deadline`` is on `clock.boottime`."""
        self.acted = False
        """It has had to end the command."""
        self._ended = False
        self._told = deadline
        reader, self._writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._watch(group, deadline, grace, reader)
        os.close(reader)

    def trust(self, deadline: float) -> None:
        """Put the deadline off: the lease was renewed."""
        if deadline != self._told:
            self._told = deadline
            self._tell(deadline)

    def ended(self, status: int) -> None:
        """What waitpid has said of it."""
        self._ended = True
        self.acted = os.waitstatus_to_exitcode(status) == _ACTED

    def dismiss(self) -> None:
        """End it, and learn whether it `acted`."""
        self._tell(math.inf)
        os.close(self._writer)
        if not self._ended:
            self.ended(os.waitpid(self.pid, 0)[1])

    def _tell(self, deadline: float) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has acted, or somebody has killed it
            os.write(self._writer, _DEADLINE.pack(deadline))

    def _watch(self, group: int, deadline: float, grace: float, reader: int) -> NoReturn:
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
                signal.signal(number, signal.SIG_IGN)
            os.setsid()  # out of reach of what is sent to our group or from the terminal
            # Nothing of ours may stay open here: not the pipes of the caller, and not the way to the database.
            os.dup2(reader, 0)
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))
            os.close(1)
            while (left := deadline - clock.boottime()) > 0:
                if not select.select([0], [], [], min(_LOOK, left))[0]:
                    continue
                told = os.read(0, 4096)
                if not told:
                    _say("was killed; its command is stopped")
                    break
                (deadline,) = _DEADLINE.unpack(told[-_DEADLINE.size :])
                if math.isinf(deadline):
                    os._exit(_DISMISSED)
            else:
                _say("does not answer and its lease runs out; its command is stopped")
            _end(group, grace)
        finally:
            os._exit(_ACTED)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody listens; what has to be done is done all the same
        os.write(2, f"lockprovider: {text}\n".encode())


def _end(group: int, grace: float) -> None:
    give_up = time.monotonic() + grace
    try:
        os.killpg(group, signal.SIGTERM)
        os.killpg(group, signal.SIGCONT)  # one that is stopped would not notice
        while time.monotonic() < give_up:
            os.killpg(group, 0)
            time.sleep(0.02)
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass
