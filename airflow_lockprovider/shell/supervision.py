"""Looks after a command while its lease is kept."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from airflow_lockprovider.lease.engine import LeaseEngine
from airflow_lockprovider.lease.keeper import Keeper
from airflow_lockprovider.lease.model import Lease
from airflow_lockprovider.shell.command import Command, CommandError, reap
from airflow_lockprovider.shell.guardian import Guardian
from airflow_lockprovider.shell.signals import Signals
from airflow_lockprovider.shell.voice import Voice

_LOOK = 1.0
"""Longest time in seconds between two looks around."""


class Supervision:
    """Starts a command and, for the time of the context, keeps its lease.

    Three parties see to it that the command ends with its lease: the keeper's loss stops it here; a guardian process
    stops it if we are killed or frozen; on Linux the kernel kills it if we are killed.
    """

    def __init__(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        engine: LeaseEngine,
        lease: Lease,
        grace: float,
        signals: Signals,
        voice: Voice,
    ) -> None:
        """Raises CommandError if the command cannot be started."""
        self._engine, self._grace, self._signals, self._voice = engine, grace, signals, voice
        self._name = words[0]
        # First, while there is one thread: both fork.
        signals.forward()
        self._dismissed = False
        try:
            # The guardian is there before the command does anything: we may be frozen at any moment.
            self._command = Command(words, environment, signals.handled, lambda group: self._guard(group, lease))
        except CommandError:
            self._dismiss()
            raise
        self._keeper = Keeper(engine, lease, lambda loss: signals.wake())

    def __enter__(self) -> Self:
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._command.status is None:  # an error of ours: the command must not go on without us
            self._command.signal(signal.SIGKILL)
        self._command.terminal.take_back()
        self._keeper.stop()
        self._dismiss()

    @property
    def lease(self) -> Lease:
        """The lease as last renewed."""
        return self._keeper.lease

    @property
    def loss(self) -> str | None:
        """Why the command had to be stopped, or its result does not count."""
        if self._keeper.loss:
            return str(self._keeper.loss)
        return f"{self.lease} was not renewed in time: this process was frozen" if self._guardian.acted else None

    def wait(self) -> int:
        """Wait for the command, pass signals on, stop it if the lease is lost. Returns its exit code.

        When this returns nothing is left of the command's process group.
        """
        clock, command = self._engine.clock, self._command
        look = min(_LOOK, self.lease.ttl / 20)
        kill_at: float | None = None
        while command.status is None:
            if kill_at is None:
                self._guardian.trust(self._deadline(self.lease))
            if self._keeper.loss and kill_at is None:
                # At the end of the lease at the latest, but not without a moment for SIGTERM.
                now = clock()
                kill_at = min(now + self._grace, max(self.lease.trusted_until, now + min(self._grace, 1.0)))
                self._guardian.trust(kill_at + 1.0)  # only if we do not get so far
                self._voice.say(f"stopping {self._name}: SIGTERM now, SIGKILL in {kill_at - now:.3g} s")
                command.signal(signal.SIGTERM)
                command.signal(signal.SIGCONT)  # one that is stopped would not notice
            if kill_at is not None and clock() >= kill_at:
                command.signal(signal.SIGKILL)
            for number in self._signals.wait(look if kill_at is None else min(look, max(kill_at - clock(), 0.02))):
                if number != signal.SIGCHLD:
                    command.signal(number)
            self._reap()
        command.end_rest(self._grace, self._reap)
        self._dismiss()
        return command.status

    def _reap(self) -> None:
        for pid, status in reap().items():
            if pid == self._command.pid:
                self._command.ended(status)
            elif pid == self._guardian.pid:
                self._guardian.ended(status)

    def _guard(self, group: int, lease: Lease) -> None:
        self._guardian = Guardian(group, self._deadline(lease), self._grace)

    def _dismiss(self) -> None:
        if not self._dismissed:
            self._dismissed = True
            self._guardian.dismiss()

    def _deadline(self, lease: Lease) -> float:
        """When the guardian has to act: a little after the keeper, and early enough for the grace."""
        margin = lease.ttl - self._engine.settings.give_up_after(lease.ttl)
        return lease.trusted_until - margin * 0.95
