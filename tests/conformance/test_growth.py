"""A queue that is growing, by what the tables say: the same in every dialect."""

from __future__ import annotations

import pytest

from airflow_lockprovider.desk.watch import Thresholds
from airflow_lockprovider.desk.watching import watch
from airflow_lockprovider.lease import LeaseEngine
from tests.conformance.dialects import Dialect

NAME = "dwh.sales"
HOUR = Thresholds(held=None, waiting=None, queue=None, growth=3600)


@pytest.fixture
def engine(dialect: Dialect) -> LeaseEngine:
    """Nobody is passed over, and no reservation lapses, because a test is slow."""
    return dialect.engine(skip_after=300, prune_after=45 * 60, handover_ttl=300)


class Past:
    """Makes requests that came, and were served or left, so many minutes ago."""

    def __init__(self, engine: LeaseEngine, dialect: Dialect, name: str = NAME) -> None:
        self.engine, self.dialect, self.name = engine, dialect, name
        self.number = 0

    def waits(self, came: float, *, seen: float | None = None) -> int:
        """One that still waits; ``seen``: nobody has looked after it since."""
        self.number += 1
        ticket = self.engine.enqueue(self.name, owner_id=f"{self.name} {self.number}")
        self._update(f"waiter set created_at = created_at - interval '{came} minutes'", ticket.number)
        if seen is not None:
            self.dialect.age_waiter(ticket, seen * 60)
        return ticket.number

    def served(self, came: float, left: float, *, how: str = "on its worker") -> None:
        """One that stood at the head of the line."""
        self.number += 1
        owner = f"{self.name} {self.number}"
        ticket = self.engine.enqueue(self.name, owner_id=owner).number
        if how == "on its worker":
            assert self.engine.release(self.engine.acquire(self.name, 0, owner))
        else:
            assert self.engine.reserve(ticket)
        if how == "confirmed":
            assert self.engine.release(self.engine.confirm(ticket, owner))
        self._ago(ticket, came, left)

    def gave_up(self, came: float, left: float) -> None:
        """One that has withdrawn."""
        self.number += 1
        ticket = self.engine.enqueue(self.name, owner_id=f"{self.name} {self.number}")
        assert self.engine.withdraw(ticket.number, ticket.owner_id)
        self._ago(ticket.number, came, left)

    def _ago(self, ticket: int, came: float, left: float) -> None:
        self._update(f"lease_event set at = at - interval '{left} minutes', waited = {(came - left) * 60}", ticket)

    def _update(self, what: str, ticket: int) -> None:
        self.dialect.query(f"update lockprovider.{what} where ticket = {ticket}")


@pytest.fixture
def past(engine: LeaseEngine, dialect: Dialect) -> Past:
    return Past(engine, dialect)


def _kinds(engine: LeaseEngine, thresholds: Thresholds = HOUR) -> list[tuple[str, str]]:
    return [(problem.lock_name, problem.kind) for problem in watch(engine, thresholds).problems]


def test_it_is_known_how_long_a_line_was_and_who_came_and_left(past: Past, engine: LeaseEngine) -> None:
    engine.release(engine.try_acquire(NAME, "at once"))  # never stood in line
    past.served(came=200, left=150)  # before the span
    past.served(came=70, left=50, how="confirmed")
    past.served(came=40, left=20)
    past.gave_up(came=33, left=5)
    past.waits(came=180, seen=45)
    engine.clean_up()  # forgets that one
    assert "pruned" in [event.event for event in engine.history(NAME)]
    past.waits(came=90, seen=35)
    past.served(came=25, left=0, how="reserved")
    for came in (120, 110, 40, 40, 40, 20, 10):
        past.waits(came)
    engine.set_capacity(NAME, 3)
    engine.release(engine.try_acquire("free", "at once"))

    (row,) = engine.queue_growth(3600)

    lengths = {"at_begin": 2 + 1 + 1 + 1, "at_middle": 2 + 3 + 1 + 1, "at_late": 2 + 3 + 1 + 1 + 1, "waiting": 7}
    assert row == {"lock_name": NAME, **lengths, "came": 8, "served": 3, "gave_up": 3, "capacity": 3}
    assert engine.queue_growth(3600, NAME) == [row]
    assert engine.queue_growth(3600, "free") == []


def test_a_reservation_that_has_lapsed_is_back_in_line(past: Past, engine: LeaseEngine, dialect: Dialect) -> None:
    ticket = past.waits(came=10)
    reserved = engine.reserve(ticket)
    assert reserved
    assert engine.queue_growth(3600) == []
    dialect.expire(reserved)
    (row,) = engine.queue_growth(3600)
    assert (row["waiting"], row["came"], row["served"]) == (1, 1, 0)


def test_the_watch_tells_of_a_line_that_grows_steadily(past: Past, engine: LeaseEngine) -> None:
    for came, left in ((95, 50), (90, 20)):
        past.served(came, left)
    for came in (100, 80, *range(58, 8, -5), 4):
        past.waits(came)

    (problem,) = watch(engine, HOUR).problems

    assert (problem.lock_name, problem.kind) == (NAME, "queue growing")
    assert problem.text.startswith("13 wait, 4 did 1h 0m ago: 11 came, 2 were served")
    assert _kinds(engine, Thresholds(held=None, waiting=None, queue=None, growth=None)) == []


def test_the_watch_is_silent_of_bursts_and_of_lines_that_shrink(engine: LeaseEngine, dialect: Dialect) -> None:
    just_now, nightly, shrinking = (Past(engine, dialect, name) for name in ("just now", "nightly", "shrinking"))
    for number in range(12):
        just_now.waits(came=2 + number / 60)
        if number < 4:
            nightly.served(came=40, left=35 - 8 * number)
        shrinking.served(came=90, left=50 - 4 * number)
    for _ in range(20):
        nightly.waits(came=40)
    for came in (100, 100, 100, 100, 100, 10):
        shrinking.waits(came)

    assert _kinds(engine) == []
    assert {row["lock_name"]: row["waiting"] for row in engine.queue_growth(3600)} == {
        "just now": 12,
        "nightly": 20,
        "shrinking": 6,
    }
