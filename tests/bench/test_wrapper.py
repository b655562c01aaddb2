"""The measurement of the wrapper works. What it measures, `make bench` says."""

from __future__ import annotations

from tests.bench.wrapper import measure, table


def test_bare_and_locked_tasks_and_files_are_measured(airflow_db: object) -> None:
    report = measure(rounds=1, tasks=20)
    assert report["task"]["locked"] > 0
    assert report["parse"].keys() == {"bare", "locked", "by_rule"}
    assert report["import: added"] > 0
    told = table(report)
    assert "parsing a file of 20 tasks" in told
    assert f"locked {report['task']['locked'] * 1000:.0f} ms" in told
