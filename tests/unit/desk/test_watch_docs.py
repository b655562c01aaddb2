"""docs/watch.md and docs/cli.md say what there is."""

from __future__ import annotations

import re

import pytest

from airflow_lockprovider.cli.commands import PROBLEMS
from airflow_lockprovider.desk import watch
from airflow_lockprovider.get_provider_info import get_provider_info
from tests.conftest import REPOSITORY

WATCH = (REPOSITORY / "docs" / "watch.md").read_text(encoding="utf-8")
CLI = (REPOSITORY / "docs" / "cli.md").read_text(encoding="utf-8")


def _first_cells(text: str) -> list[str]:
    return [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")][1:]


def test_every_kind_of_trouble_is_explained():
    kinds = {value for name, value in vars(watch).items() if name.isupper() and isinstance(value, str)}
    assert set(_first_cells(WATCH.partition("## Every minute")[0])) == kinds


def test_thresholds_are_told_with_their_defaults():
    options = get_provider_info()["config"]["lockprovider"]["options"]
    table = WATCH.partition("## Thresholds")[2]
    assert {cell.strip("`") for cell in _first_cells(table)} == {name for name in options if name.startswith("watch_")}
    for name in options:
        if name.startswith("watch_"):
            assert f"| `{name}` | `{options[name]['default']}` |" in table


def test_the_sample_is_a_dag():
    from airflow.sdk import DAG

    (sample,) = re.findall(r"```python\n(.*?)```", WATCH, re.DOTALL)
    made: dict[str, object] = {}
    exec(sample.replace(", max_active_runs=1):", ", max_active_runs=1) as dag:"), made)
    dag = made["dag"]
    assert isinstance(dag, DAG)
    assert (dag.task_ids, dag.max_active_runs) == (["look_at_all_locks"], 1)


@pytest.mark.parametrize("page", [WATCH, CLI])
def test_sample_commands_are_understood(page):
    import shlex

    from airflow.cli.cli_parser import get_parser

    commands = re.findall(
        r"^    (?:\$ |\* \* \* \* \*  )(airflow locks [^|\n]*)", page.replace("\\\n", ""), re.MULTILINE
    )
    assert commands
    for command in commands:
        get_parser().parse_args(shlex.split(command)[1:])


def test_the_exit_code_for_problems_is_told():
    assert f"| {PROBLEMS} | only `check` and `doctor`" in CLI
    assert f"{PROBLEMS}: something is" in WATCH
