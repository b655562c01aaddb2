"""Waiting on the worker for the last moments before it is our turn, instead of leaving and coming back."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow_lockprovider.hooks.lease import LeaseHook
from airflow_lockprovider.lease.errors import LockProviderError
from airflow_lockprovider.lease.lease_set import LeaseSet
from airflow_lockprovider.lease.model import Busy, Lease
from airflow_lockprovider.lease.standby import Mode
from airflow_lockprovider.operators.wanted import Wanted
from airflow_lockprovider.triggers import settle

_DEFAULT_POOL = "default_pool"

Answer = Lease | LeaseSet | Busy | None
"""As `LeaseEngine.confirm` answers."""


class Standby:
    """One try of a task on a worker, with a ticket. execution_timeout and SIGTERM are its caller's."""

    def __init__(
        self, wanted: Wanted, ti: Any, hook: LeaseHook, owner_id: str, context: Mapping[str, Any], log: logging.Logger
    ) -> None:
        self._wanted, self._hook, self._owner_id, self._context, self._log = wanted, hook, owner_id, context, log
        self._pool = getattr(getattr(ti, "task", None), "pool", None) or _DEFAULT_POOL

    @property
    def mode(self) -> Mode:
        """What the locks say, else the settings.

        By itself ("auto") nobody waits in a pool that somebody has made: Airflow does not tell a task how many slots it
        has, and if it is one, the standby would be in the way of everybody.
        """
        mode = self._wanted.standby or self._hook.settings.standby
        return "never" if mode == "auto" and self._pool != _DEFAULT_POOL else mode

    def linger(self, ticket: int, left: float | None) -> Answer:
        """Wait where we are, if our turn comes sooner than we could leave and come back. Busy or None: leave.

        ``left``: seconds of the wait_timeout that are left; None: no limit.
        """
        try:
            stay = self._hook.linger(
                ticket,
                self._owner_id,
                mode=self.mode,
                expected_hold=self._wanted.expected_hold,
                settle=settle.settle_time(),
            )
        except LockProviderError as error:
            self._log.warning("cannot find out whether to wait on this worker, so not waiting here: %s", error)
            return None
        if stay <= 0:
            return None
        stay = stay if left is None else min(stay, left)
        self._log.info("our turn may be near: waiting on this worker for at most %.1f s", stay)
        return self._wait(ticket, stay, called=False)

    def stand_by(self, ticket: int, left: float | None) -> Answer:
        """We were called up: wait here for the lock, at most ``standby_limit``."""
        stay = self._hook.settings.standby_limit
        stay = stay if left is None else min(stay, left)
        self._log.info("called up for %s: waiting on this worker for at most %.1f s", self._wanted.noun, stay)
        answer = self._wait(ticket, stay, called=True)
        if answer is not None and not answer:
            self._log.info("%s; called up for nothing, leaving this worker again", answer)
        return answer

    def _wait(self, ticket: int, stay: float, *, called: bool) -> Answer:
        return self._hook.stand_by(
            ticket,
            self._owner_id,
            stay,
            called=called,
            ttl=self._wanted.ttl,
            context=self._context,
            hold_at_least=self._wanted.hold_at_least,
            several=self._wanted.several,
        )
