"""An engine without a database, whose clock the test turns."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from airflow_lockprovider.lease import Lease, LeaseSettings
from airflow_lockprovider.lease.model import Renewal

Answer = Callable[[Lease], Renewal]


def a_lease(ttl: float = 0.1, trusted_until: float = 1000.1) -> Lease:
    moment = datetime(2026, 1, 1, 12, 30, tzinfo=UTC)
    return Lease("x", "me", "dag/run", 7, 1, False, "held", ttl, ttl, moment, moment, trusted_until=trusted_until)


class FakeEngine:
    """Answers renewals with what the test says; the last answer is repeated."""

    def __init__(self, *answers: Answer, settings: LeaseSettings | None = None) -> None:
        self.settings = settings or LeaseSettings()
        self.now = 1000.0
        self.asked = 0
        self.limit: float | None = None
        self.asked_again = threading.Event()
        self.closed = threading.Event()
        self._answers = list(answers)

    def clock(self) -> float:
        return self.now

    def renew_many(self, leases: Sequence[Lease]) -> list[Renewal]:
        self.asked += 1
        if self.asked >= 3:
            self.asked_again.set()
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [answer(lease) for lease in leases]

    def limit_calls(self, seconds: float) -> None:
        self.limit = seconds

    def close(self) -> None:
        self.closed.set()

    def renewed(self, lease: Lease) -> Renewal:
        return Renewal(replace(lease, trusted_until=self.now + lease.ttl), "renewed")
