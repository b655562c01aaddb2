"""`lockprovider exec`: what comes in, what comes out, and who gets the lock."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from airflow_lockprovider.lease import LeaseEngine
from tests.integration.shell.conftest import Shell, signals_count, until

Sql = psycopg.Connection[Any]


def events(engine: LeaseEngine, name: str = "x") -> list[str]:
    return [event.event for event in reversed(engine.history(name, 1000))]


@pytest.mark.parametrize("code", [0, 1, 7, 75, 255])
def test_the_exit_code_is_the_commands_own(shell: Shell, engine: LeaseEngine, code: int):
    told = shell("exec", "x", "--", "sh", "-c", f"exit {code}")
    assert (told.returncode, told.stderr) == (code, "")
    assert events(engine) == ["granted", "released"]
    assert engine.leases() == []


def test_the_exit_code_of_a_command_that_a_signal_ended_is_128_and_its_number(shell: Shell):
    assert shell("exec", "x", "--", "sh", "-c", "kill -9 $$").returncode == 137
    assert shell("exec", "x", "--", "sh", "-c", "kill -TERM $$").returncode == 143


def test_stdin_stdout_and_stderr_pass_through_untouched(shell: Shell):
    data = bytes(range(256)) * 2000
    told = shell("exec", "x", "--", "sh", "-c", "cat; echo said >&2", input=data, text=False)  # type: ignore[arg-type]
    assert told.stdout == data  # type: ignore[comparison-overlap]
    assert told.stderr == b"said\n"  # type: ignore[comparison-overlap]


def test_the_command_learns_name_token_and_guard(shell: Shell, engine: LeaseEngine):
    told = shell("exec", "dwh.o'x", "--", "sh", "-c", "env | grep LEASE | sort")
    token, owner_id = engine.history("dwh.o'x", 1)[0].token, engine.history("dwh.o'x", 1)[0].owner_id
    assert told.stdout.splitlines() == [
        "AIRFLOW_LEASE_NAME=dwh.o'x",
        f"AIRFLOW_LEASE_TOKEN={token}",
        f"LOCKPROVIDER_LEASE_GUARD=select lockprovider.guard('dwh.o''x', {token})",
        "LOCKPROVIDER_LEASE_NAME=dwh.o'x",
        f"LOCKPROVIDER_LEASE_OWNER_ID={owner_id}",
        f"LOCKPROVIDER_LEASE_TOKEN={token}",
    ]


def test_the_guard_it_gets_lets_the_command_write(shell: Shell, sql: Sql, database: str):
    sql.execute("create table written (what text)")
    code = (
        "import os, psycopg\n"
        "with psycopg.connect(os.environ['LOCKPROVIDER_DSN']) as connection:\n"
        "    connection.execute(os.environ['LOCKPROVIDER_LEASE_GUARD'])\n"
        "    connection.execute(\"insert into written values ('guarded')\")\n"
    )
    told = shell("exec", "x", "--", sys.executable, "-c", code)
    assert (told.returncode, told.stderr) == (0, "")
    assert sql.execute("select what from written").fetchall() == [("guarded",)]


def test_words_behind_the_dashes_are_the_commands(shell: Shell):
    told = shell("exec", "x", "--", "echo", "--ttl", "--", "-q")
    assert told.stdout == "--ttl -- -q\n"


def test_the_command_does_not_inherit_what_we_have_open_or_ignore(shell: Shell):
    look = "ls /proc/self/fd | wc -l; grep -E 'SigBlk|SigIgn' /proc/self/status"
    told = shell("exec", "x", "--", "sh", "-c", look)
    # As the other one, which a shell's background would otherwise have ignore SIGINT.
    plain = subprocess.run(["sh", "-c", look], capture_output=True, text=True, check=True, preexec_fn=signals_count)
    assert told.stdout == plain.stdout


def test_a_lock_is_held_by_one_at_a_time(shell: Shell, engine: LeaseEngine):
    first = shell.start("exec", "x", "--owner", "first", "--", "cat")
    until(lambda: engine.leases("x"))

    busy = shell("exec", "x", "--wait", "0", "--", "echo", "ran")
    assert (busy.returncode, busy.stdout) == (75, "")
    (line,) = busy.stderr.splitlines()
    assert line.startswith("lockprovider: not started: lock 'x' is busy: held by first since ")

    other = shell("exec", "y", "--", "echo", "ran")
    assert (other.returncode, other.stdout) == (0, "ran\n")
    first.communicate("", timeout=20)
    assert first.returncode == 0


def test_busy_can_be_an_error_or_a_reason_to_skip(shell: Shell, engine: LeaseEngine):
    assert engine.try_acquire("x", owner="me")

    failed = shell("exec", "x", "--on-busy", "fail", "--", "echo", "ran")
    skipped = shell("exec", "x", "--on-busy", "skip", "--", "echo", "ran")
    silent = shell("exec", "x", "--on-busy", "skip", "--quiet", "--", "echo", "ran")

    assert (failed.returncode, failed.stdout) == (75, "")
    assert (skipped.returncode, skipped.stdout) == (0, "")
    assert skipped.stderr.startswith("lockprovider: skipped: lock 'x' is busy: held by me since ")
    assert (silent.returncode, silent.stdout, silent.stderr) == (0, "", "")


def test_it_waits_in_line_and_says_so_when_the_wait_was_too_long(shell: Shell, engine: LeaseEngine):
    lease = engine.try_acquire("x")
    assert lease
    late = shell("exec", "x", "--wait", "0.5s", "--", "echo", "ran")
    assert (late.returncode, late.stdout) == (75, "")
    assert late.stderr.startswith("lockprovider: not started: lock 'x' ")
    assert engine.queue("x") == []

    patient = shell.start("exec", "x", "--wait", "forever", "--priority", "7", "--", "echo", "ran")
    assert [waiter.priority for waiter in until(lambda: engine.queue("x"))] == [7]
    engine.release(lease)
    assert patient.communicate(timeout=20)[0] == "ran\n"
    assert patient.returncode == 0


def test_units_capacity_and_shared_are_passed_on(shell: Shell, engine: LeaseEngine):
    running = shell.start("exec", "pool", "--capacity", "3", "--units", "2", "--", "cat")
    (lease,) = until(lambda: engine.leases("pool"))
    assert lease.units == 2
    contradicting = shell("exec", "pool", "--capacity", "4", "--", "true")
    assert contradicting.returncode == 64
    assert "capacity 3, but capacity 4 was declared" in contradicting.stderr
    running.communicate("", timeout=20)

    reading = shell.start("exec", "table", "--shared", "--", "cat")
    until(lambda: engine.leases("table"))
    assert shell("exec", "table", "--shared", "--wait", "0", "--", "true").returncode == 0
    assert shell("exec", "table", "--wait", "0", "--", "true").returncode == 75
    reading.communicate("", timeout=20)


def test_a_short_command_can_keep_the_lock_from_a_clock_that_is_a_little_late(shell: Shell, engine: LeaseEngine):
    first = shell("exec", "x", "--hold-at-least", "1m", "--", "echo", "ran")
    late = shell("exec", "x", "--on-busy", "skip", "--", "echo", "ran")
    assert (first.returncode, first.stdout, first.stderr) == (0, "ran\n", "")
    assert (late.returncode, late.stdout) == (0, "")
    assert "skipped: lock 'x' is busy" in late.stderr


def test_the_dialect_is_passed_on(shell: Shell):
    shell.environment["LOCKPROVIDER_DIALECT"] = "redshift"
    # Its tables have another marker, so those of Postgres are none.
    told = shell("exec", "x", "--", "true")
    assert (told.returncode, told.stdout) == (69, "")
    assert "redshift_version" in told.stderr


def test_a_caller_without_stdin_is_served_too(shell: Shell):
    command = "echo ran; exit 3"
    told = subprocess.run(
        ["sh", "-c", f"{shlex.quote(sys.executable)} -m airflow_lockprovider.shell exec x -- sh -c '{command}' <&-"],
        env=shell.environment,
        capture_output=True,
        text=True,
    )
    assert (told.returncode, told.stdout, told.stderr) == (3, "ran\n", "")


def test_history_knows_the_command_by_name_and_not_its_words(shell: Shell, sql: Sql):
    shell("exec", "x", "--", "echo", "hunter22")
    ((context,),) = sql.execute("select context from lockprovider.lease_event where event = 'granted'").fetchall()
    assert context["command"] == "echo"
    assert context.keys() == {"command", "host", "pid"}


def test_a_once_key_needs_a_lock_that_keeps_others_out(shell: Shell, engine: LeaseEngine):
    told = shell("exec", "x", "--shared", "--once-key", "k", "--", "echo", "ran")
    assert (told.returncode, told.stdout) == (64, "")
    assert "take an exclusive lease" in told.stderr
    assert engine.leases() == []


def test_no_such_command_is_found_out_before_the_lock_is_asked_for(shell: Shell, engine: LeaseEngine):
    told = shell("exec", "x", "--", "no-such-command")
    assert (told.returncode, events(engine)) == (127, [])
    assert "no-such-command: there is no such command" in told.stderr


def test_a_command_that_cannot_run_gives_the_lock_back(shell: Shell, engine: LeaseEngine, tmp_path: Path):
    plain = tmp_path / "plain"
    plain.write_text("no program")
    told = shell("exec", "x", "--", str(plain))
    assert told.returncode == 126
    assert told.stderr == f"lockprovider: {plain}: Permission denied\n"
    assert events(engine) == ["granted", "released"]


def test_a_database_that_does_not_serve_starts_nothing_and_no_password_is_printed(shell: Shell):
    for dsn in (
        "postgresql://someone:hunter22@127.0.0.1:1/warehouse",
        "host=127.0.0.1 port=1 password=hunter22",
        "postgresql//someone:hunter22@127.0.0.1/typo",
    ):
        for words in (("--dsn", dsn), ()):
            shell.environment["LOCKPROVIDER_DSN"] = dsn
            told = shell("exec", "x", *words, "--", "echo", "ran")
            assert (told.returncode, told.stdout) == (69, "")
            assert len(told.stderr.splitlines()) == 1
            assert "hunter22" not in told.stderr


def test_the_password_may_come_from_libpqs_own_places(shell: Shell, database: str, tmp_path: Path):
    password = urlsplit(database).password
    assert password
    secret = tmp_path / "pgpass"
    secret.write_text(f"*:*:*:*:{password}\n")
    secret.chmod(0o600)
    shell.environment["LOCKPROVIDER_DSN"] = database.replace(f":{password}@", "@")
    assert shell("exec", "x", "--", "true").returncode == 69
    plain = shell.environment
    for name, value in (("PGPASSWORD", password), ("PGPASSFILE", str(secret))):
        shell.environment = {**plain, name: value}
        assert shell("exec", "x", "--", "true").returncode == 0


def test_missing_tables_are_one_line_with_the_command_that_makes_them(shell: Shell):
    told = shell("exec", "x", "--schema", "elsewhere", "--", "true")
    assert told.returncode == 69
    assert told.stderr.splitlines()[0].endswith("run: lockprovider init")


def test_the_whole_command_runs_without_airflow(shell: Shell, database: str):
    code = (
        "import sys; from airflow_lockprovider.shell.main import main;"
        "code = main(['exec', 'x', '--', 'true']);"
        "print(code, sorted(m for m in sys.modules if m.partition('.')[0] in"
        " ('airflow', 'boto3', 'fastapi', 'sqlalchemy', 'rich', 'pendulum')))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], env=shell.environment, capture_output=True, text=True, check=True, cwd="/"
    )
    assert told.stdout == "0 []\n"
