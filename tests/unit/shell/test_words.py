"""Words that cannot work are found out before anything is asked of the database."""

from __future__ import annotations

import subprocess
import sys

import pytest

from airflow_lockprovider.shell.main import main
from airflow_lockprovider.shell.voice import Voice, secrets_of


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["no-such-command"], "invalid choice"),
        (["exec"], "required: NAME"),
        (["exec", "x"], "no command was given: lockprovider exec x -- command args…"),
        (["exec", "x", "--"], "no command was given"),
        (["exec", "x", "true"], "unrecognized arguments: true"),
        (["exec", "x", "--no-such-option", "--", "true"], "unrecognized arguments"),
        (["exec", "x", "--ttl", "soon", "--", "true"], "'soon' is not a duration"),
        (["exec", "x", "--ttl", "0", "--", "true"], "must be above zero"),
        (["exec", "x", "--wait=-1", "--", "true"], "--wait='-1' must be above zero"),
        (["exec", "x", "--wait", "soon", "--", "true"], "--wait='soon' is not a duration"),
        (["exec", "x", "--units", "0", "--", "true"], "argument --units"),
        (["exec", "x", "--units", "3", "--capacity", "2", "--", "true"], "it could never be granted"),
        (["exec", "x", "--on-busy", "dance", "--", "true"], "invalid choice: 'dance'"),
        (["exec", "x", "--ttl", "10", "--grace", "5", "--", "true"], "--grace '5' must be at most 3.5 s"),
        (["exec", "", "--", "true"], "lock name '' is empty"),
        (["exec", "x", "--schema", "No Schema", "--", "true"], "schema='No Schema'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_misuse_ends_with_64_and_a_line_that_says_what_is_wrong(words, text, capsys, monkeypatch):
    monkeypatch.setenv("LOCKPROVIDER_DSN", "host=127.0.0.1 port=1")
    try:
        code = main(words)
    except SystemExit as end:
        code = end.code
    told = capsys.readouterr()
    assert (code, told.out) == (64, "")
    assert text in told.err.splitlines()[-1]
    assert told.err.splitlines()[-1].startswith("lockprovider")


def test_a_database_has_to_be_named(capsys, monkeypatch):
    for name in ("LOCKPROVIDER_DSN", "PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE"):
        monkeypatch.delenv(name, raising=False)
    assert main(["exec", "x", "--", "true"]) == 64
    assert "no database was named: set LOCKPROVIDER_DSN" in capsys.readouterr().err


def test_every_exit_code_is_in_the_help(capsys):
    from airflow_lockprovider.shell import exit_codes

    with pytest.raises(SystemExit) as end:
        main(["exec", "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    for name, value in vars(exit_codes).items():
        if name.isupper() and name != "PROBLEMS":  # that is none of exec's
            assert f"  {value}" in text


def test_importing_the_command_loads_no_airflow_and_no_driver():
    code = (
        "import sys, airflow_lockprovider.shell.main;"
        "print(sorted(m for m in sys.modules if m.partition('.')[0] in ('airflow', 'psycopg', 'psycopg2', 'rich')))"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert told.strip() == "[]"


@pytest.mark.parametrize(
    ("dsn", "text"),
    [
        ("postgresql://me:p%40ss@host/db", "cannot read 'postgresql://me:p%40ss@host/db', p@ss or p%40ss"),
        ("host=h password=p@ss user=me", "cannot read password=p@ss"),
        ("host=h password = 'p@ss' user=me", "cannot read p@ss"),
        ("postgres//me:p@ss@host", "missing = after postgres//me:p@ss@host"),
        ("postgresql://me@host/db?password=p@ss", "cannot read p@ss"),
        ("postgresql://me@host/db?sslmode=require&password=p@ss&x=y", "cannot read password p@ss"),
    ],
)
def test_no_password_of_a_dsn_is_ever_said(dsn, text, capsys):
    Voice(dsn).say(text)
    said = capsys.readouterr().err
    assert said.startswith("lockprovider: ")
    assert "ss" not in said.replace("missing", "").replace("password", "")


def test_a_dsn_without_secrets_is_left_readable():
    assert secrets_of("") == []
    assert secrets_of("host=warehouse dbname=dwh user=me") == []
    assert secrets_of("postgresql://me@warehouse:5432/dwh") == []


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["revoke", "dwh.sales"], "--reason"),  # for the record, so it is asked for
        (["pause", "dwh.sales"], "--reason"),
        (["set", "dwh.sales"], "--capacity"),
        (["set", "dwh.sales", "--capacity", "0"], "--capacity"),
        (["history", "--limit", "-1"], "--limit"),
        (["list", "--output", "xml"], "invalid choice: 'xml'"),
        (["show"], "NAME"),
        (["list", "--", "true"], "lockprovider list runs no command"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_words_about_locks_that_make_no_sense_are_misuse(words, text, capsys, monkeypatch):
    monkeypatch.setenv("LOCKPROVIDER_DSN", "host=127.0.0.1 port=1")
    try:
        code = main(words)
    except SystemExit as end:
        code = end.code
    assert code == 64
    assert text in capsys.readouterr().err.splitlines()[-1]


def test_lockprovider_has_the_verbs_of_airflow_locks():
    from airflow_lockprovider.cli.definition import get_locks_cli_commands
    from airflow_lockprovider.shell.locks import COMMANDS

    (group,) = get_locks_cli_commands()
    # Rules and readiness are about DAGs and Airflow's connections; only `lockprovider exec` has keys to forget.
    theirs = {"rules", "ready"}
    assert {command.name for command in group.subcommands} - theirs == COMMANDS.keys() - {"forget"}


def test_table_columns_are_as_wide_as_their_widest_cell():
    from airflow_lockprovider.shell.output import lines

    rows = [{"lock": "a", "held": 3.0}, {"lock": "a long name", "held": None}]
    assert list(lines(rows, ["lock", "held"], framed=True)) == [
        "lock        | held",
        "============+=====",
        "a           | 3.0s",
        "a long name | -",
    ]
    assert list(lines(rows, ["lock"], framed=False)) == ["lock", "a", "a long name"]
