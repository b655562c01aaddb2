from __future__ import annotations

import pytest

from airflow_lockprovider.triggers.takeover import is_earlier_try, may_have_gone_on


@pytest.mark.parametrize(
    ("label", "other", "expected"),
    [
        ("dag/run/task#1", "dag/run/task#2", True),
        ("dag/run/task#9", "dag/run/task#10", True),
        ("dag/run/task#2", "dag/run/task#2", False),
        ("dag/run/task#2", "dag/run/task#1", False),
        ("dag/run/task[1]#1", "dag/run/task[2]#2", False),
        ("dag/other run/task#1", "dag/run/task#2", False),
        ("host 12", "host 12", False),
        ("dag/run/task", "dag/run/task#2", False),
    ],
)
def test_an_earlier_try_is_one_of_the_same_task_with_a_smaller_number(label: str, other: str, expected: bool) -> None:
    assert is_earlier_try(label, other) is expected


@pytest.mark.parametrize(("state", "expected"), [("running", True), ("queued", True), ("failed", False), (None, False)])
def test_a_task_may_only_have_gone_on_while_it_is_not_over(state: str | None, expected: bool) -> None:
    assert may_have_gone_on(state) is expected
