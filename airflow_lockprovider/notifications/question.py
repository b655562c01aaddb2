"""One question to the ledger of alerts, for as long as an alert can wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from airflow_lockprovider.hooks.lease import LeaseHook
from airflow_lockprovider.lease.alert_ledger import AlertLedger

Result = TypeVar("Result")


class Question(Generic[Result]):
    """Asked at once, in a thread of its own: a server that takes the connection and then says nothing must not hold
    the alert up, and nor must the thread the end of the process.
    """

    def __init__(
        self,
        hook: LeaseHook,
        ask: Callable[[AlertLedger], Result],
        *,
        too_late: Callable[[AlertLedger, Result], object] | None = None,
    ) -> None:
        """``too_late``: what becomes of an answer after `give_up`."""
        self.problem: Exception | None = None
        self._hook, self._ask, self._too_late = hook, ask, too_late
        self._answers: list[Result] = []
        self._given_up = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="ledger of alerts", daemon=True)
        self._thread.start()

    def answers(self, seconds: float) -> list[Result]:
        """The answer; nothing if there is a problem, or if it takes longer."""
        self._thread.join(seconds)
        with self._lock:
            return list(self._answers)

    def give_up(self) -> list[Result]:
        """Wait no longer. What has been answered at the last moment."""
        with self._lock:
            self._given_up = True
            return list(self._answers)

    def _work(self) -> None:
        try:
            ledger = AlertLedger(self._hook.store)
            answer = self._ask(ledger)
            with self._lock:
                if not self._given_up:
                    self._answers.append(answer)
                    return
            if self._too_late is not None:
                self._too_late(ledger, answer)
        except Exception as error:
            self.problem = error
        finally:
            self._hook.close()  # the connection of this thread
