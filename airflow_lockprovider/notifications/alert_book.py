"""The ledger of alerts, asked briefly and without ever failing: an alert must go out without it, too."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from airflow_lockprovider.hooks.lease import LeaseHook
from airflow_lockprovider.lease.alert_ledger import PAUSES, AlertLedger, Episode
from airflow_lockprovider.metrics import count
from airflow_lockprovider.notifications.question import Question
from airflow_lockprovider.notifications.text import presentable

log = logging.getLogger(__name__)
Result = TypeVar("Result")

PATIENCE = 3.0
"""Seconds to wait for the warehouse. Airflow ends the process of a failed task after 20 s."""
GLANCE = 1.0
"""Seconds more to look whether people know, where many want to count at once."""


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
        """Count one failure; whether people must be told.

        In Redshift one count is made after the other, which is too slow for some of a storm. They look whether people
        know, and if so tell nobody; their count goes on as long as their process does.
        """
        own = self._prefix + key

        def too_late(ledger: AlertLedger, answer: tuple[bool, Episode]) -> None:
            should_tell, episode = answer
            if should_tell:  # and nobody does any more
                ledger.untold(episode, at=at)

        def quiet(hook: LeaseHook, counting: Question[tuple[bool, Episode]]) -> tuple[bool, Episode] | None:
            for episode in Question(hook, lambda ledger: ledger.quiet(own, at=at)).answers(GLANCE):
                if episode is not None:
                    return next(iter(counting.give_up()), (False, episode))
            return None

        return self._ask(
            lambda ledger: ledger.seen(own, title, part=part, occurrence=occurrence, pauses=self._pauses, at=at),
            too_late=too_late,
            instead=quiet,
        )

    def over(self, keys: Sequence[str], *, part: str | None, at: datetime | None) -> list[Episode] | None:
        """What people must be told is over."""

        def too_late(ledger: AlertLedger, episodes: list[Episode]) -> None:
            for episode in episodes:
                ledger.untold(episode, recovered=True, at=at)

        own = [self._prefix + key for key in keys]
        return self._ask(lambda ledger: ledger.over(own, part=part, at=at), too_late=too_late)

    def untold(self, episode: Episode, *, recovered: bool, at: datetime | None) -> None:
        """Nobody could be reached."""
        self._ask(lambda ledger: ledger.untold(episode, recovered=recovered, at=at))

    def due(self, *, at: datetime | None) -> list[Episode] | None:
        """What has grown since its last message."""

        def too_late(ledger: AlertLedger, episodes: list[Episode]) -> None:
            for episode in episodes:
                ledger.untold(episode, at=at)

        return self._ask(lambda ledger: ledger.due(self._prefix, pauses=self._pauses, at=at), too_late=too_late)

    def open(self, prefix: str) -> list[str] | None:
        """Keys of what is not over."""
        keys = self._ask(lambda ledger: ledger.open(self._prefix + prefix))
        return None if keys is None else [self.own_key(key) for key in keys]

    def own_key(self, key: str) -> str:
        """The key as the notice has it."""
        return key.removeprefix(self._prefix)

    def _ask(
        self,
        ask: Callable[[AlertLedger], Result],
        *,
        too_late: Callable[[AlertLedger, Result], object] | None = None,
        instead: Callable[[LeaseHook, Question[Result]], Result | None] | None = None,
    ) -> Result | None:
        problem: object = f"no answer within {PATIENCE:g} s"
        try:
            hook = _Hook(self._conn_id, quick=True)
            hook.look_up()
            question = Question(hook, ask, too_late=too_late)
            for answer in question.answers(PATIENCE):
                return answer
            if question.problem is not None:
                problem = question.problem
            else:
                last = instead(hook, question) if instead else next(iter(question.give_up()), None)
                if last is not None:
                    return last
        except Exception as error:
            problem = error
        text = presentable(problem, limit=500)
        log.warning("nobody knows what people have been told already, the ledger of alerts fails: %s", text)
        count("alert_ledger_failed")
        return None


class _Hook(LeaseHook):
    def look_up(self) -> None:
        """Ask for the Airflow connection now, in this thread: a supervisor answers one thread at a time."""
        self._resolved()
