"""The samples of docs/retries.md run as they are."""

from __future__ import annotations

import re

from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "retries.md").read_text(encoding="utf-8")


def test_the_samples_of_the_page_are_dags_with_the_locks_that_they_name() -> None:
    tasks = {}
    for sample in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        names: dict[str, object] = {}
        exec(sample.replace("):\n", ") as dag:\n"), names)
        tasks |= names["dag"].task_dict  # type: ignore[attr-defined]

    assert tasks["load"].lock_name == "dwh.sales"
    assert tasks["load"].has_retry_policy
    assert tasks["merge"].lock_name == ["dwh.orders", "dwh.rates"]
