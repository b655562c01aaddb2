"""The commands that Airflow's own parser knows."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

from airflow_lockprovider.cli.definition import get_locks_cli_commands


def test_the_group_has_all_verbs_and_each_has_its_function():
    (group,) = get_locks_cli_commands()
    assert group.name == "locks"
    verbs = {command.name for command in group.subcommands}
    about_locks = {"init", "list", "queue", "history", "show", "revoke", "pause", "resume", "set", "clean-up"}
    assert verbs >= about_locks | {"upgrade", "stats", "check", "rules"}
    commands = import_module("airflow_lockprovider.cli.commands")
    for command in group.subcommands:
        if not hasattr(command, "func"):
            continue  # a group of its own
        assert callable(getattr(commands, command.func.__name__))


def test_defining_the_commands_loads_no_hook_and_no_driver():
    code = (
        "import sys, airflow.cli.cli_config; before = set(sys.modules);"
        "from airflow_lockprovider.cli.definition import get_locks_cli_commands as g; g();"
        "print(sorted(m for m in set(sys.modules) - before if 'hooks' in m or 'psycopg' in m or 'lease' in m))"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd="/").stdout
    assert told.strip() == "[]"


@pytest.mark.parametrize(
    "words",
    [
        ["revoke", "dwh.sales"],  # a reason is for the record, so it is asked for
        ["pause", "dwh.sales"],
        ["set", "dwh.sales"],
        ["set", "dwh.sales", "--capacity", "0"],
        ["history", "--limit", "-1"],
        ["list", "--output", "xml"],
        ["show"],
    ],
)
def test_words_that_make_no_sense_are_refused_by_the_parser(words, capsys):
    from airflow.cli.cli_parser import get_parser

    with pytest.raises(SystemExit) as refused:
        get_parser().parse_args(["locks", *words])
    assert refused.value.code == 2
    assert "error" in capsys.readouterr().err
