"""`airflow locks rules` through Airflow's own parser, on DAG files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DAGS = """\
from airflow.sdk import DAG
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator

with DAG("sales", schedule=None):
    BashOperator(task_id="load", bash_command="true")
    BashOperator.partial(task_id="each").expand(bash_command=["a", "b"])

with DAG("begins", schedule=None):
    EmptyOperator(task_id="begin")
"""
RULES = """\
rules:
  - match: {dag: sales}
    lock: dwh.sales
  - match: {dag: sales, task: each}
    lock: dwh.{{ ti.map_index }}
  - match: {operator: GlueJobOperater}
    lock: glue
"""

Tell = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tell(tmp_path: Path, airflow_db: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tell:
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "sales.py").write_text(DAGS, encoding="utf-8")
    (tmp_path / "rules.yaml").write_text(RULES, encoding="utf-8")
    bundle: dict[str, Any] = {
        "name": "dags-folder",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(tmp_path / "dags")},
    }
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: str) -> tuple[int, str, str]:
        from airflow.cli.cli_parser import get_parser

        capsys.readouterr()
        code, said = 0, ""
        try:
            args = get_parser().parse_args(["locks", "rules", *words])
            args.func(args)
        except SystemExit as end:
            code, said = (end.code, "") if isinstance(end.code, int) else (1, str(end.code))
        told = capsys.readouterr()
        return code, told.out, told.err + said

    return call


def test_it_shows_which_rule_locks_which_task(tell: Tell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__LOCKPROVIDER__RULES", str(tmp_path / "rules.yaml"))

    code, out, err = tell("--output", "json")

    assert json.loads(out) == [
        {"line": 2, "dag_id": "sales", "task_id": "load", "operator": "BashOperator", "locks": "dwh.sales"},
        *(
            {
                "line": line,
                "dag_id": "sales",
                "task_id": "each",
                "operator": "BashOperator",
                "locks": "dwh.sales, dwh.{{ ti.map_index }}",
            }
            for line in (2, 4)
        ),
    ]
    assert err == "the rule in line 6 fits no task\n"  # the operator is misspelt
    assert code == 0
    code, out, _ = tell("--dag-id", "begins", "--output", "json")
    assert (code, json.loads(out)) == (0, [])


def test_another_file_can_be_tried_first(tell: Tell, tmp_path: Path) -> None:
    trial = tmp_path / "trial.yaml"
    trial.write_text("rules:\n  - match: {task: load}\n    lock: trial\n", encoding="utf-8")

    code, out, err = tell("--file", str(trial))

    assert code == 0, err
    assert [word for word in ("trial", "load", "BashOperator") if word not in out] == []
    assert "each" not in out


def test_without_rules_it_says_so(tell: Tell) -> None:
    code, _, err = tell()
    assert (code, err) == (1, "airflow locks: there are no rules: set rules in section lockprovider, or say --file")


def test_a_bad_file_is_told_with_its_line(tell: Tell, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("rules:\n  - match: {dag: a}\n    lokc: x\n", encoding="utf-8")
    code, out, err = tell("--file", str(tmp_path / "rules.yaml"))
    assert (code, out) == (1, "")
    assert err.startswith("airflow locks: rule file")
    assert "line 3, rules[0].lokc: is unknown" in err


def test_a_task_that_cannot_be_locked_is_told(tell: Tell, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("rules:\n  - match: {dag: begins}\n    lock: x\n", encoding="utf-8")
    code, _, err = tell("--file", str(tmp_path / "rules.yaml"))
    assert code == 1
    assert "sales.py: AirflowClusterPolicyError: task 'begin' of DAG 'begins' is to be locked by the rule in" in err
