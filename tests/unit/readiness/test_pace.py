from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.pace import Pace


def test_the_interval_grows_while_nothing_arrives_and_falls_back_when_something_does() -> None:
    pace = Pace.of((4, 12))
    assert [pace.next(progress=False) for _ in range(5)] == [4, 6, 9, 12, 12]
    assert pace.next(progress=True) == 4
    assert pace.next(progress=False) == 6


@pytest.mark.parametrize("interval", [30, 30.0, timedelta(seconds=30), (30, timedelta(seconds=30))])
def test_one_number_is_a_constant_interval(interval: Any) -> None:
    pace = Pace.of(interval)
    assert [pace.next(progress=False) for _ in range(3)] == [30, 30, 30]


@pytest.mark.parametrize("interval", [0, -1, (60, 5), (1, 2, 3), "often", "55", None, ()])
def test_anything_else_is_refused(interval: Any) -> None:
    with pytest.raises(ConfigurationError, match="poke_interval"):
        Pace.of(interval)


def test_errors_back_off_with_jitter_and_do_not_forget_it_at_once() -> None:
    chances = iter([0.0, 0.0, 1.0, 0.5])
    pace = Pace(5, 60, chance=lambda: next(chances))
    assert [pace.next(progress=False, error=True) for _ in range(4)] == [10, 20, 20, 45]
    assert pace.next(progress=False) == 60
    assert pace.next(progress=True) == 5


def test_jitter_is_on_unless_told_otherwise() -> None:
    assert len({Pace(5, 60).next(progress=False, error=True) for _ in range(50)}) > 10
