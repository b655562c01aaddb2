"""Locks by rule: no DAG says a word about them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_lockprovider.policies.in_force import rules_in_force
from tests.integration.locked.rule_dags import load, locks, serialised

SALES = """\
from airflow.sdk import DAG, Asset, TaskGroup, task
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator, BranchPythonOperator

with DAG("sales_load", schedule=None):
    BashOperator(task_id="load", bash_command="true", outlets=[Asset("sales", uri="s3://dwh/sales")])
    BashOperator.partial(task_id="each").expand(bash_command=["a", "b"])
    PythonOperator(task_id="python", python_callable=print)

    @task.bash
    def by_decorator():
        return "true"

    @task(outlets=[Asset("stock")])
    def function(): ...

    @task
    def mapped(number): ...

    by_decorator()
    function()
    mapped.expand(number=[1, 2])
    with TaskGroup("group"):
        PythonOperator(task_id="inner", python_callable=print)

with DAG("sales_test", schedule=None):
    BashOperator(task_id="load", bash_command="true")
"""
OWN = """\
from airflow.sdk import DAG, task
from airflow.providers.standard.operators.bash import BashOperator
from airflow_lockprovider import Lock, LockedOperator

with DAG("own", schedule=None):
    LockedOperator(task_id="one", operator=BashOperator, lock="mine", bash_command="true")
    LockedOperator(task_id="same", operator=BashOperator, lock=Lock("ours", priority=7), bash_command="true")
    LockedOperator(task_id="off", operator=BashOperator, lock={"lock_status": "disable"}, bash_command="true")
    LockedOperator[BashOperator].partial(task_id="mapped", lock=["mine", "yours"]).expand(bash_command=["a"])
"""
PLAIN = """\
from airflow.sdk import DAG
from airflow.providers.standard.operators.bash import BashOperator

with DAG("plain", schedule=None):
    BashOperator(task_id="load", bash_command="true")
"""

Rules = Callable[[str], None]


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, airflow_db: Path) -> Rules:
    """Put rules in force, in short: what stands under ``rules:``."""
    path = tmp_path / "rules.yaml"
    monkeypatch.setenv("AIRFLOW__LOCKPROVIDER__RULES", str(path))
    return lambda text: path.write_text(f"rules:\n{text}", encoding="utf-8") and None


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ("{dag: sales_load}", ["load", "each", "python", "by_decorator", "function", "mapped", "group.inner"]),
        ("{dag: sales_load, task: load}", ["load"]),
        ("{dag: '*_load', task: ['l*', each]}", ["load", "each"]),
        ("{dag: sales_load, task: inner}", []),
        ("{dag: sales_load, task: group.*}", ["group.inner"]),
        ("{dag: sales_load, operator: BashOperator}", ["load", "each", "by_decorator"]),
        ("{dag: sales_load, operator: airflow.providers.standard.operators.bash.*}", ["load", "each", "by_decorator"]),
        ("{dag: sales_load, operator: '@task.bash'}", ["by_decorator"]),
        ("{dag: sales_load, operator: '@task'}", ["function", "mapped"]),
        ("{dag: sales_load, operator: bashoperator}", []),
        ("{outlet: s3://dwh/*}", ["load"]),
        ("{outlet: sales}", ["load"]),
        ("{outlet: [sales, stock]}", ["load", "function"]),
        ("{outlet: '*'}", ["load", "function"]),
        ("{dag: Sales_load}", []),
    ],
)
def test_a_rule_fits_by_dag_task_operator_and_outlet(rules: Rules, tmp_path: Path, match: str, fits: list[str]) -> None:
    rules(f"  - match: {match}\n    lock: dwh.sales\n")
    bag = load(tmp_path, {"sales.py": SALES})

    assert not bag.import_errors
    assert locks(bag) == {f"sales_load.{task}": ["dwh.sales"] for task in fits}


def test_what_is_excepted_stays_without(rules: Rules, tmp_path: Path) -> None:
    rules("  - match: {dag: sales_*, operator: BashOperator}\n    except: {dag: sales_test}\n    lock: x\n")
    assert set(locks(load(tmp_path, {"sales.py": SALES}))) == {
        f"sales_load.{t}" for t in ("load", "each", "by_decorator")
    }


def test_a_locked_task_is_still_what_it_was_to_the_scheduler(rules: Rules, tmp_path: Path) -> None:
    rules("  []\n")
    bare = serialised(load(tmp_path, {"sales.py": SALES}))["sales_load"]["dag"]["tasks"]
    rules("  - match: {dag: '*'}\n    lock: x\n")
    wrapped = serialised(load(tmp_path, {"sales.py": SALES}))["sales_load"]["dag"]["tasks"]

    for before, after in zip(bare, wrapped, strict=True):
        before, after = before["__var"], after["__var"]
        assert after["task_type"] == before["task_type"]
        assert after["_task_module"] == before["_task_module"]
        assert set(after["template_fields"]) - set(before["template_fields"]) == {"lock_name"}


def test_a_locked_task_waits_and_runs_as_any_other(rules, tmp_path, hook, run) -> None:
    rules("  - match: {operator: BashOperator}\n    lock: dwh.{{ ti.task_id }}\n")
    load_task = load(tmp_path, {"plain.py": PLAIN}).dags["plain"].get_task("load")

    assert run(load_task).state == "success"
    other = hook.acquire("dwh.load")
    assert run(load_task).state == "deferred"
    hook.release(other)
    assert [event.event for event in reversed(hook.history("dwh.load"))][:2] == ["granted", "released"]


def test_the_locks_of_all_rules_that_fit_are_taken_together(rules: Rules, tmp_path: Path) -> None:
    rules(
        """\
  - {match: {dag: plain}, lock: one}
  - {match: {task: load}, lock: [two, {name: one, priority: 9}]}
  - {match: {task: other}, lock: three}
"""
    )
    bag = load(tmp_path, {"plain.py": PLAIN})
    assert locks(bag) == {"plain.load": ["one", "two"]}
    assert bag.dags["plain"].get_task("load").lock_name == ["one", "two"]


def test_rules_come_beside_the_locks_that_a_dag_declares(rules: Rules, tmp_path: Path) -> None:
    rules("  - match: {dag: own}\n    lock: ours\n")
    bag = load(tmp_path, {"own.py": OWN})

    assert locks(bag) == {
        "own.one": ["mine", "ours"],
        "own.same": ["ours"],
        "own.off": ["ours"],
        "own.mapped": ["mine", "yours", "ours"],
    }
    assert bag.dags["own"].get_task("same")._lock.locks[0].priority == 7
    assert bag.dags["own"].get_task("mapped").unmap({"bash_command": "a"}).lock_name == ["mine", "yours", "ours"]


def test_a_rule_that_is_switched_off_locks_nothing(rules: Rules, tmp_path: Path) -> None:
    rules("  - match: {dag: plain}\n    lock: {name: x, lock_status: disable}\n")
    assert locks(load(tmp_path, {"plain.py": PLAIN})) == {}


def test_a_rule_without_a_name_calls_the_lock_after_the_task(rules: Rules, tmp_path: Path) -> None:
    rules("  - match: {dag: plain}\n    lock: {lock_duration: 5 mins}\n")
    assert locks(load(tmp_path, {"plain.py": PLAIN})) == {"plain.load": ["plain.load"]}


def test_changed_rules_hold_from_the_next_parse_on(rules: Rules, tmp_path: Path) -> None:
    for name in ("one", "another"):
        rules(f"  - match: {{dag: plain}}\n    lock: {name}\n")
        assert locks(load(tmp_path, {"plain.py": PLAIN})) == {"plain.load": [name]}


def test_another_process_comes_to_the_same_dag(rules: Rules, tmp_path: Path) -> None:
    rules("  - match: {dag: '*'}\n    lock: [{name: x, ttl: 5 mins}, y]\n")
    here = serialised(load(tmp_path, {"sales.py": SALES, "own.py": OWN}))
    code = (
        "import json, sys, pathlib; from tests.integration.locked.rule_dags import *;"
        "print(json.dumps(serialised(load(pathlib.Path(sys.argv[1]), {}))))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(told.stdout.splitlines()[-1]) == here


# What must never be: a task that a rule is about, and that runs without a lock


def errors(bag: Any) -> list[str]:
    assert bag.dags == {}
    return list(bag.import_errors.values())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("  - match: {dag: plain}\n    lokc: x\n", "line 3, rules[0].lokc: is unknown"),
        ("  - match: {dag: other}\n    lock: {name: x, ttl: soon}\n", "line 3, rules[0].lock: ttl of lock 'x'"),
        ("  - match: [\n", "no valid YAML"),
    ],
)
def test_a_bad_file_is_an_import_error_of_every_dag(rules: Rules, tmp_path: Path, text: str, words: str) -> None:
    rules(text)
    found = errors(load(tmp_path, {"plain.py": PLAIN, "sales.py": SALES}))
    assert len(found) == 2
    assert all(words in error and f"{tmp_path}/rules.yaml" in error for error in found), found


def test_a_bad_file_stays_an_import_error_until_it_is_repaired(rules: Rules, tmp_path: Path) -> None:
    rules("  - match: {dag: plain}\n    lock: good\n")
    assert locks(load(tmp_path, {"plain.py": PLAIN})) == {"plain.load": ["good"]}
    rules("  - nonsense\n")
    for _ in range(2):
        assert len(errors(load(tmp_path, {"plain.py": PLAIN}))) == 1
    rules("  - match: {dag: plain}\n    lock: good\n")
    assert locks(load(tmp_path, {"plain.py": PLAIN})) == {"plain.load": ["good"]}


def test_a_missing_file_is_an_import_error_and_not_the_same_as_no_rules(rules: Rules, tmp_path: Path) -> None:
    (error,) = errors(load(tmp_path, {"plain.py": PLAIN}))
    assert "rules.yaml cannot be read" in error


def test_a_relative_path_starts_from_airflow_home(
    airflow_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__LOCKPROVIDER__RULES", "nowhere/rules.yaml")
    (error,) = errors(load(tmp_path, {"plain.py": PLAIN}))
    assert f"{airflow_db}/nowhere/rules.yaml" in error


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ('EmptyOperator(task_id="bad")', "EmptyOperator cannot be locked: Airflow's scheduler marks it successful"),
        (
            'TriggerDagRunOperator(task_id="bad", trigger_dag_id="x", wait_for_completion=True)',
            "Lock the task in the triggered DAG instead",
        ),
        (
            'TriggerDagRunOperator.partial(task_id="bad", wait_for_completion=True).expand(trigger_dag_id=["x"])',
            "Lock the task in the triggered DAG instead",
        ),
        (
            'DateTimeSensorAsync(task_id="bad", target_time="2026-01-31", start_from_trigger=True)',
            "Set start_from_trigger=False",
        ),
        (
            'LockedOperator[BashOperator].partial(task_id="bad").expand(lock=["a", "b"], bash_command=["", ""])',
            "state all its locks there",
        ),
        (
            'LockedOperator(task_id="bad", operator=BashOperator, lock=Lock("a", lease_conn_id="b"), bash_command="")',
            "several databases",
        ),
    ],
)
def test_a_task_that_cannot_have_the_lock_is_an_import_error_with_the_rule_and_the_way_out(
    rules: Rules, tmp_path: Path, task: str, words: str
) -> None:
    text = f"""\
from airflow.sdk import DAG
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync
from airflow_lockprovider import Lock, LockedOperator

with DAG("refused", schedule=None):
    {task}
"""
    rules("  - match: {dag: '*'}\n    lock: x\n")
    (error,) = errors(load(tmp_path, {"refused.py": text}))
    assert words in error
    assert f"task 'bad' of DAG 'refused' is to be locked by the rule in {tmp_path}/rules.yaml, line 2" in error
    assert "except: {dag: refused, task: bad}" in error

    rules("  - match: {dag: '*'}\n    except: {dag: refused, task: bad}\n    lock: x\n")
    assert not load(tmp_path, {"refused.py": text}).import_errors


def test_the_policy_is_found_by_its_entry_point(airflow_db: Path) -> None:
    from airflow.settings import get_policy_plugin_manager

    assert "lockprovider" in [name for name, _ in get_policy_plugin_manager().list_name_plugin()]
    assert rules_in_force.for_dag(object()) == ()
