"""The terminal, if there is one: its keys (Ctrl-C, Ctrl-Z) and its input belong to the command."""

from __future__ import annotations

import contextlib
import os
import signal


class Terminal:
    """The terminal on stdin, if we are in its foreground; else nothing happens."""

    def __init__(self) -> None:
        try:
            self._ours = os.getpgrp() if os.tcgetpgrp(0) == os.getpgrp() else None
        except OSError:
            self._ours = None

    def give(self, group: int) -> None:
        """Put a process group into the foreground."""
        if self._ours is None:
            return
        # A background process that does this is stopped by SIGTTOU, unless the signal is blocked.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTTOU])
        try:
            os.tcsetpgrp(0, group)
        except OSError:
            pass  # the group is over, or the terminal is gone
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def take_back(self) -> None:
        """Put ourselves into the foreground."""
        if self._ours is not None:
            self.give(self._ours)

    def suspended(self, group: int) -> None:
        """The command was stopped by Ctrl-Z: stop with it, and go on with it."""
        if self._ours is None:
            return
        self.take_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        # Here again after fg or SIGCONT.
        self.give(group)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGCONT)
