"""The ledger of alerts, asked briefly and without ever failing: an alert must go out without it, too."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from airflow_lockprovider.hooks.lease import LeaseHook
from airflow_lockprovider.lease.alert_ledger import PAUSES, AlertLedger, Episode
from airflow_lockprovider.metrics import count
from airflow_lockprovider.notifications.text import presentable

log = logging.getLogger(__name__)
Result = TypeVar("Result")

PATIENCE = 3.0
"""Seconds to wait for the warehouse. Airflow ends the process of a failed task after 20 s."""


class AlertBook:
    """`AlertLedger` over an Airflow connection. Answers None where the warehouse does not.

    :param lease_conn_id: connection of the warehouse; default: that of the locks
    :param name: begin of all its keys: notifiers with different names do not know of each other
    """

    def __init__(self, lease_conn_id: str | None = None, *, name: str, pauses: Sequence[float] = PAUSES) -> None:
        self._conn_id, self._prefix, self._pauses = lease_conn_id, f"{name}:", pauses

    def seen(
        self, key: str, title: str, *, part: str, occurrence: str | None, at: datetime | None
    ) -> tuple[bool, Episode] | None:
        """Count one failure; whether people must be told."""
        return self._ask(
            lambda ledger: ledger.seen(
                self._prefix + key, title, part=part, occurrence=occurrence, pauses=self._pauses, at=at
            )
        )

    def over(self, keys: Sequence[str], *, part: str | None, at: datetime | None) -> list[Episode] | None:
        """What people must be told is over."""
        return self._ask(lambda ledger: ledger.over([self._prefix + key for key in keys], part=part, at=at))

    def untold(self, episode: Episode, *, recovered: bool, at: datetime | None) -> None:
        """Nobody could be reached."""
        self._ask(lambda ledger: ledger.untold(episode, recovered=recovered, at=at))

    def due(self, *, at: datetime | None) -> list[Episode] | None:
        """What has grown since its last message."""
        return self._ask(lambda ledger: ledger.due(self._prefix, pauses=self._pauses, at=at))

    def open(self, prefix: str) -> list[str] | None:
        """Keys of what is not over."""
        keys = self._ask(lambda ledger: ledger.open(self._prefix + prefix))
        return None if keys is None else [self.own_key(key) for key in keys]

    def own_key(self, key: str) -> str:
        """The key as the notice has it."""
        return key.removeprefix(self._prefix)

    def _ask(self, ask: Callable[[AlertLedger], Result]) -> Result | None:
        answers: list[Result] = []
        problems: list[Exception] = []

        def work(hook: LeaseHook) -> None:
            try:
                answers.append(ask(AlertLedger(hook.store)))
            except Exception as error:
                problems.append(error)
            finally:
                hook.close()

        try:
            hook = _Hook(self._conn_id, quick=True)
            hook.look_up()
            # Daemon: a server that takes the connection and then says nothing must not hold the alert up.
            thread = threading.Thread(target=work, args=(hook,), name="ledger of alerts", daemon=True)
            thread.start()
            thread.join(PATIENCE)
        except Exception as error:
            problems.append(error)
        if answers:
            return answers[0]
        problem = presentable(problems[0], limit=500) if problems else f"no answer within {PATIENCE:g} s"
        log.warning("nobody knows what people have been told already, the ledger of alerts fails: %s", problem)
        count("alert_ledger_failed")
        return None


class _Hook(LeaseHook):
    def look_up(self) -> None:
        """Ask for the Airflow connection now, in this thread: a supervisor answers one thread at a time."""
        self._resolved()
