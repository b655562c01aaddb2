"""When a queue is growing, and when it only looks so: made-up lines, minute by minute."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from airflow_lockprovider.desk.growth import Growth
from airflow_lockprovider.desk.watch import Thresholds, problems
from airflow_lockprovider.lease.model import LeaseEvent, Waiter
from airflow_lockprovider.lease.settings import LeaseSettings

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SPAN = 60.0
LIMITS = Thresholds(queue=None, waiting=None)


def growth(at_begin=4, at_middle=8, at_late=10, waiting=12, *, came=10, served=2, gave_up=0, capacity=1):
    """The example of the documentation: 12 wait, 4 an hour ago."""
    return Growth("dwh.sales", at_begin, at_middle, at_late, waiting, came, served, gave_up, capacity)


def waiters(number, *, shared=False, alive=True, units=1):
    return [
        Waiter(place, "dwh.sales", str(place), f"w{place}", units, shared, 0, NOON, 5.0, place, alive)
        for place in range(1, number + 1)
    ]


def released(held):
    return LeaseEvent(NOON, "dwh.sales", 7, "1", "d/r/load#1", "released", None, held, None, None)


def told(*lines, waiting: Sequence[Waiter] = (), thresholds=LIMITS, history: Sequence[LeaseEvent] = ()):
    return problems([], waiting, thresholds, LeaseSettings(), history=history, growth=lines)


class Line:
    """Minutes at which requests came, and at which they were served: one after the other, each for ``hold`` minutes."""

    def __init__(self, came: Sequence[float], hold: float, taken_until: float = 0.0) -> None:
        self.came = sorted(came)
        self.served: list[float] = []
        for minute in self.came:
            taken_until = max(minute, taken_until)
            self.served.append(taken_until)
            taken_until += hold

    def at(self, minute: float) -> int:
        return sum(came <= minute < served for came, served in zip(self.came, self.served, strict=True))

    def growth(self, minute: float) -> Growth:
        begin = minute - SPAN
        lengths = [self.at(begin + SPAN * part) for part in (0, 0.5, 0.75, 1)]
        # Who is served at once never stood in line.
        stood = [(came, served) for came, served in zip(self.came, self.served, strict=True) if served > came]
        came = sum(begin < at <= minute for at, _ in stood)
        served = sum(begin < at <= minute for _, at in stood)
        return Growth("dwh.sales", *lengths, came, served, 0, 1)

    def told(self, minutes: Sequence[float]) -> list[float]:
        return [minute for minute in minutes if self.growth(minute).is_steady]


def test_more_come_than_are_served_and_the_words_say_how_many_and_how_long_the_last_one_waits():
    (problem,) = told(growth(), waiting=waiters(12), history=[released(held) for held in (60, 750, 900)])

    assert (problem.kind, problem.lock_name, problem.owner) == ("queue growing", "dwh.sales", "")
    assert problem.text == (
        "12 wait, 4 did 1h 0m ago: 10 came, 2 were served; it is usually held for 12m 30s, "
        "so the last in line waits about 2h 30m"
    )
    assert problem.seconds == 12 * 750
    assert "more capacity (airflow locks set dwh.sales --capacity …)" in problem.todo.format(program="airflow locks")
    assert "airflow locks queue --lock dwh.sales" in problem.todo.format(program="airflow locks")
    assert problem.key == "watch/queue growing/dwh.sales"
    assert (problem.detail["came"], problem.detail["served"], problem.detail["wait_seconds"]) == (10, 2, 9000)


def test_how_long_the_last_one_waits_depends_on_units_and_capacity_and_on_the_living_alone():
    line = waiters(12, units=2) + waiters(3, alive=False)
    (problem,) = told(growth(capacity=4), waiting=line, history=[released(600)])
    assert problem.seconds == 12 * 2 * 600 / 4


@pytest.mark.parametrize(
    ("line", "history"), [(waiters(12), []), (waiters(12, shared=True), [released(600)]), ([], [released(600)])]
)
def test_where_nobody_can_say_how_long_the_last_one_waits_nothing_is_said(line, history):
    (problem,) = told(growth(served=1, gave_up=1), waiting=line, history=history)
    assert problem.text.startswith("12 wait, 4 did 1h 0m ago: 10 came, 1 was served, 1 gave up")
    assert "the last in line" not in problem.text
    assert problem.seconds is None


def test_it_is_not_told_where_it_is_switched_off():
    assert told(growth(), thresholds=Thresholds(growth=None)) == []


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(growth(1, 2, 3, 4, came=3, served=0), id="short"),
        pytest.param(growth(12, 12, 12, 12, came=5, served=5), id="level"),
        pytest.param(growth(20, 16, 14, 12, came=2, served=10), id="shrinking"),
        pytest.param(growth(4, 16, 14, 12, came=14, served=6), id="past its height"),
        pytest.param(growth(1, 2, 2, 22, came=22, served=1), id="a burst just now"),
        pytest.param(growth(2, 21, 21, 22, came=23, served=3), id="a burst long ago"),
        pytest.param(growth(2, 20, 21, 22, came=23, served=3), id="a burst long ago, and few since"),
        pytest.param(growth(0, 2, 2, 8, came=8, served=0), id="a burst that begins, and some that came long before"),
        pytest.param(growth(0, 10, 20, 20, came=20, served=0), id="a burst in the middle, and nobody since"),
        pytest.param(growth(4, 8, 10, 12, came=58, served=50), id="no more than chance"),
    ],
)
def test_a_line_that_may_get_shorter_by_itself_is_not_told(line):
    assert told(line) == []


def test_half_as_many_again_as_it_serves_is_told_once_it_has_gone_on_for_the_span_and_until_it_ends():
    # One every 2 minutes, each held for 3, for five hours.
    line = Line(range(0, 300, 2), hold=3)
    seen = line.told(range(600))
    assert 30 < seen[0] < SPAN
    assert set(seen) >= set(range(60, 300))
    assert seen[-1] < 300 + SPAN / 4


@pytest.mark.parametrize("hold", [0.5, 2, 10, 45, 240])
@pytest.mark.parametrize("spread", [0, 5, 15, 20])
@pytest.mark.parametrize("before", [0, 1, 3])
def test_a_nightly_burst_is_never_told_while_it_is_worked_off(hold, spread, before):
    burst = [240 + spread * part / 30 for part in range(30)]
    line = Line([200 + number for number in range(before)] + burst, hold)
    assert max(line.at(minute) for minute in range(230, 280)) >= 5 or hold < 1
    assert line.told(range(180, 1440)) == []


def test_a_lock_that_is_busy_but_keeps_up_is_hardly_ever_told_and_an_overloaded_one_nearly_always():
    def share(use: float) -> float:
        chance, minute, came = random.Random(7), 0.0, []
        while minute < 2 * 1440:
            minute += chance.expovariate(use / 2)
            came.append(minute)
        line = Line(came, hold=2)
        rounds = range(60, 1440, 7)
        return len(line.told(rounds)) / len(rounds)

    assert share(0.7) < 0.02
    assert share(2.0) > 0.7
