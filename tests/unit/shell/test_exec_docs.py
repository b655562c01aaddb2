"""docs/exec.md says what the command does."""

from __future__ import annotations

import re
import shlex

import pytest
import yaml

from airflow_lockprovider.shell import exit_codes
from airflow_lockprovider.shell.arguments import parser, split
from tests.conftest import REPOSITORY

TEXT = (REPOSITORY / "docs" / "exec.md").read_text()


def test_every_exit_code_is_explained():
    table = TEXT.partition("## Exit codes")[2].partition("\n## ")[0]
    for name, value in vars(exit_codes).items():
        if name.isupper():
            assert re.search(rf"\b{value}\b", table), name


def test_every_option_is_explained_and_every_explained_option_exists():
    table = TEXT.partition("## Options of exec")[2].partition("\nTimes are")[0]
    explained = set(
        re.findall(r"`(--[a-z-]+)", "".join(line.split("|")[1] for line in table.splitlines() if "|" in line))
    )
    actions = parser()._subparsers._group_actions[0].choices["exec"]._actions  # type: ignore[union-attr,index,call-overload]
    known = {option for action in actions for option in action.option_strings if option.startswith("--")}
    assert explained | {"--once-exit"} == known - {"--help"}


def test_the_kubernetes_example_is_a_cronjob_whose_command_is_understood():
    (text,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    job = yaml.safe_load(text)
    assert job["kind"] == "CronJob"
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never", "podFailurePolicy asks for it"
    (line,) = pod["containers"][0]["args"]
    assert line.startswith("exec lockprovider exec ")
    ours, theirs = split(shlex.split(line)[2:])
    assert parser().parse_args(ours).wait == "30m"
    assert theirs == ["./load_sales.sh"]


@pytest.mark.parametrize("line", re.findall(r"^(?:    |15 2 \* \* \*  )(?:\$ )?(lockprovider .*)$", TEXT, re.MULTILINE))
def test_every_sample_line_is_understood(line):
    if line.count("'") % 2:
        line += "'"  # the sample goes on in the next lines
    ours, _ = split(shlex.split(line, comments=True)[1:])
    parser().parse_args(ours)
