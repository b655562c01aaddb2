"""Whether the benchmark of the page's answers counts what it says; not what it measures."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.bench.page import SMALL, measure, table
from tests.integration.web.speed import AIM, LIMIT, QUESTIONS, Cost, Stopwatch


@pytest.mark.parametrize(
    ("took", "work", "free", "in_time"),
    [
        ([0.1, 0.2, 9.0], 0.05, True, True),
        ([0.1, LIMIT + 0.01, 9.0], 0.05, True, False),
        ([LIMIT + 0.01, LIMIT + 0.01, 9.0], 0.05, False, True),
        ([0.1, LIMIT + 0.01, 9.0], AIM + 0.01, False, False),
    ],
)
def test_the_median_counts_and_on_a_busy_machine_the_work(
    took: list[float], work: float, free: bool, in_time: bool
) -> None:
    assert Cost(took, work / 2, work / 2, free).is_in_time == in_time


def _busy(seconds: float) -> Callable[[], None]:
    def work() -> None:
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    return work


def test_work_is_counted_where_it_is_done(database: str) -> None:
    here = Stopwatch(database).measure(_busy(0.05), rounds=3)
    assert here.server == pytest.approx(0.05, abs=0.02)
    assert here.database < 0.03
    with psycopg.connect(database) as connection:
        there = Stopwatch(database).measure(
            lambda: connection.execute("select count(*) from generate_series(1, 300000) a, generate_series(1, 2) b"),
            rounds=3,
        )
    assert there.database > 0.02
    assert there.server < there.database


def test_the_measurement_asks_every_question(airflow_db: Path) -> None:
    found = measure(SMALL, rounds=2)
    assert [one["question"].split()[0] for one in found["answers"]] == [path for path, _ in QUESTIONS]
    assert all(len(one["took"]) == 2 and one["kB"] > 0 for one in found["answers"])
    assert len(table(found).splitlines()) >= 2 + len(QUESTIONS)
