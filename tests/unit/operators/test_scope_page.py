"""The sample of docs/scope.md is a DAG."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[3] / "docs" / "scope.md"


def test_the_sample_on_the_page_is_a_dag_with_the_order_that_the_page_tells():
    (sample,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    names: dict = {"__name__": "the_sample"}
    exec(compile(sample, str(PAGE), "exec"), names)

    dag = names["extract"].dag
    dag.validate()
    assert dag.get_task("extract").downstream_task_ids == {"sales.acquire_lock"}
    assert dag.get_task("sales.release_lock").upstream_task_ids == {
        "sales.acquire_lock",
        "sales.stage",
        "sales.merge",
        "sales.check",
    }
    assert dag.get_task("report").upstream_task_ids == {"sales.merge", "sales.check"}
