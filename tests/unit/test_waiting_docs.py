"""docs/waiting.md says what is so."""

from __future__ import annotations

import re

from airflow_lockprovider.lease.settings import LeaseSettings
from airflow_lockprovider.lease.standby import MOST_READY
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "waiting.md").read_text(encoding="utf-8")


def test_the_sample_of_the_page_is_a_dag_with_the_lock_that_it_names() -> None:
    (sample,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(sample.replace("):\n", ") as dag:\n"), names)
    (task,) = names["dag"].tasks  # type: ignore[attr-defined]
    (lock,) = task._lock.locks
    assert (lock.name, lock.standby, lock.expected_hold) == ("dwh.sales", "auto", 30.0)


def test_the_defaults_of_the_page_are_the_ones_in_effect() -> None:
    rows = re.findall(r"^\| `\[lockprovider\] (\w+)`.*?\| ([^|]+?) \|", PAGE, re.MULTILINE)
    settings = LeaseSettings()
    told = {name: value.strip("`") for name, value in rows}
    assert set(told) == {"standby", "standby_limit", "poll_interval", "listen", "skip_after"}
    for name, value in told.items():
        default = getattr(settings, name)
        assert value == (f"{default:g} s" if isinstance(default, float) else str(default)), name
    assert f"most {MOST_READY} per lock" in PAGE
