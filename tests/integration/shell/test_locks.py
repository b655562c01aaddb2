"""`lockprovider list`, `revoke` and the others: what `airflow locks` does, without Airflow."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from airflow_lockprovider.lease import LeaseEngine, connect
from airflow_lockprovider.shell.main import main
from tests.integration.shell.conftest import Shell


@dataclass
class Told:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Told]


@pytest.fixture
def cli(database: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setenv("LOCKPROVIDER_DSN", database)

    def call(*words: str) -> Told:
        capsys.readouterr()
        code = main(words)
        told = capsys.readouterr()
        return Told(code, told.out, told.err)

    return call


@pytest.fixture
def busy(engine: LeaseEngine) -> Any:
    """dwh.sales: one holder and two in line; dwh.orders: held by another."""
    holder = engine.try_acquire("dwh.sales", owner="pod-1:7", context={"command": "load"})
    engine.enqueue("dwh.sales", owner_id="2", owner="pod-2:7")
    engine.enqueue("dwh.sales", owner_id="3", owner="pod-3:7")
    engine.try_acquire("dwh.orders", owner="other")
    return holder


def test_init_creates_the_tables_where_it_is_told(database: str, cli: Cli):
    first, second = cli("init", "--schema", "etl_locks"), cli("init", "--schema", "etl_locks")

    assert (first.code, first.err, second.code) == (0, "", 0)
    name = database.rpartition("/")[2].partition("?")[0]
    assert first.out.startswith(f"schema 'etl_locks' of database {name!r}: lock tables are now at version ")
    assert "were already at version" in second.out
    engine = connect(database, schema="etl_locks")
    assert engine.leases() == []
    engine.close()


def test_missing_tables_are_one_line_with_the_command_that_makes_them(cli: Cli):
    for words in (
        ("list",),
        ("show", "x"),
        ("pause", "x", "--reason", "y"),
        ("clean-up",),
        ("forget", "x", "--once-key", "k"),
    ):
        told = cli(*words)
        assert (told.code, told.out) == (69, "")
        assert told.err.endswith("run: lockprovider init\n")


def test_list_is_a_table_for_people_and_json_for_programs(busy: Any, cli: Cli):
    head, rule, orders, sales = cli("list").out.splitlines()
    assert [cell.strip() for cell in head.split("|")] == [
        "lock", "owner", "token", "state", "held_for", "expires_in", "waiters",
    ]  # fmt: skip
    assert set(rule) == {"=", "+"}
    assert [cell.strip() for cell in sales.split("|")][:4] == ["dwh.sales", "pod-1:7", str(busy.token), "held"]
    assert [line.index("|") for line in (head, orders, sales)] == [len("dwh.orders") + 1] * 3
    assert rule.index("+") == len("dwh.orders") + 1

    plain = cli("list", "--lock", "dwh.sales", "-o", "plain").out.splitlines()
    assert len(plain) == 2
    assert not set("|=") & set("".join(plain))

    (as_json,) = cli("list", "--lock", "dwh.sales", "-o", "json").json
    assert (as_json["token"], as_json["shared"], as_json["waiters"]) == (busy.token, False, 2)
    assert as_json["context"] == {"command": "load"}


def test_queue_and_history(busy: Any, cli: Cli):
    rows = cli("queue", "--lock", "dwh.sales", "-o", "json").json
    assert [(row["position"], row["owner"]) for row in rows] == [(1, "pod-2:7"), (2, "pod-3:7")]
    assert rows[0]["blocked_by"] == f"lease: pod-1:7 (token {busy.token}, held)"
    assert rows[1]["blocked_by"].endswith("; request: pod-2:7 (ticket 1)")
    assert [row["lock"] for row in cli("history", "--limit", "1", "-o", "json").json] == ["dwh.orders"]


def test_nothing_to_show_is_no_error(engine: LeaseEngine, cli: Cli):
    assert cli("list").out == "No data found\n"
    assert cli("queue", "-o", "json").json == []


def test_show_has_all_of_one_lock_and_advice_with_our_own_name(busy: Any, cli: Cli):
    cli("pause", "dwh.sales", "--reason", "maintenance", "--by", "ann")
    told = cli("show", "dwh.sales").out
    assert "dwh.sales: paused by ann: maintenance" in told
    assert "it is granted to nobody until: lockprovider resume dwh.sales" in told
    assert "dwh.sales: in line" in told
    assert cli("show", "dwh.sales", "-o", "json").json[0]["paused"] is True

    unknown = cli("show", "dwh.sale")
    assert unknown.code == 1
    assert unknown.err == (
        "lockprovider: nothing is known of a lock 'dwh.sale': see the names with lockprovider history\n"
    )


def test_revoke_takes_the_lock_away_and_records_who_and_why(busy: Any, engine: LeaseEngine, cli: Cli):
    asked = cli("revoke", "dwh.sales", "--reason", "stuck")
    assert (asked.code, asked.err) == (
        1, "lockprovider: revoke asks before it acts, and nobody is here to answer: add --yes\n",
    )  # fmt: skip

    told = cli("revoke", "dwh.sales", "--reason", "stuck", "--by", "ann", "--yes")

    assert (told.code, told.out) == (0, f"revoked: {busy}\n")
    newest = engine.history("dwh.sales", 1)[0]
    assert (newest.event, newest.actor, newest.reason) == ("revoked", "ann", "stuck")
    assert cli("revoke", "dwh.sales", "--reason", "stuck", "--yes").code == 1


def test_pause_resume_and_set(engine: LeaseEngine, cli: Cli):
    engine.release(engine.try_acquire("pool"))  # type: ignore[arg-type]
    assert cli("pause", "pool", "--reason", "maintenance").code == 0
    assert not engine.try_acquire("pool")
    assert cli("resume", "pool").out == "resumed: 'pool'\n"
    assert cli("resume", "pool").err == "lockprovider: lock 'pool' is not paused\n"
    assert cli("set", "pool", "--capacity", "2").out == "set: 'pool' has capacity 2\n"
    assert engine.try_acquire("pool")
    assert engine.try_acquire("pool")


def test_clean_up_forgets_once_keys_only_when_asked_to(engine: LeaseEngine, cli: Cli, sql: psycopg.Connection[Any]):
    lease = engine.try_acquire("x")
    assert lease
    engine.mark_done(lease, "old")
    sql.execute("update lockprovider.done set done_at = done_at - interval '91 days'")
    engine.mark_done(lease, "new")

    assert cli("clean-up").out == "cleaned up: 0 leases and waiters\n"
    assert engine.done("x", "old")
    assert cli("clean-up", "--done-before", "90d").out.splitlines()[-1] == "forgotten: 1 once keys"
    assert engine.done("x", "old") is None
    assert engine.done("x", "new")
    assert cli("clean-up", "--done-before", "soon").code == 64


def test_forget_lets_a_key_run_again(engine: LeaseEngine, cli: Cli):
    lease = engine.try_acquire("x")
    assert lease
    engine.mark_done(lease, "k")
    assert cli("forget", "x", "--once-key", "k").out == "forgotten: 'k' of lock 'x' may run again\n"
    again = cli("forget", "x", "--once-key", "k")
    assert (again.code, again.err) == (
        1, "lockprovider: nothing is recorded as done under the key 'k' of lock 'x'\n",
    )  # fmt: skip


def test_a_server_that_is_down_is_one_line_without_the_password(cli: Cli, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LOCKPROVIDER_DSN", "postgresql://someone:hunter22@127.0.0.1:1/warehouse")
    for words in (("list",), ("init",), ("revoke", "x", "--reason", "y", "--yes")):
        told = cli(*words)
        assert (told.code, told.out, len(told.err.splitlines())) == (69, "", 1)
        assert "does not serve" in told.err
        assert "hunter22" not in told.err


def test_a_reader_that_has_seen_enough_is_no_error(shell: Shell, engine: LeaseEngine):
    lease = engine.try_acquire("x")
    for _ in range(30):
        engine.release(lease)  # type: ignore[arg-type]
        lease = engine.try_acquire("x")
    process = shell.start("history", "-o", "json")
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(20) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_check_says_what_is_wrong_and_ends_with_a_code_of_its_own(busy: Any, cli: Cli, sql: psycopg.Connection[Any]):
    assert (cli("check").code, cli("check", "-o", "json").json) == (0, [])
    sql.execute("update lockprovider.lease set created_at = created_at - interval '2 hours'")

    told = cli("check", "--lock", "dwh.sales")

    assert (told.code, told.err) == (3, "")
    assert "held for 2h 0m, expected were 1h 0m at most" in told.out
    assert "lockprovider revoke dwh.sales --reason" in told.out
    assert cli("check", "--held", "3 hours").code == 0
    assert cli("check", "--held", "soon").code == 64
    assert cli("check", "--held", "3 hours", "--growth", "never").code == 0
    assert cli("check", "--growth", "soon").code == 64


def test_stats_are_told_by_lock_and_by_owner(engine: LeaseEngine, cli: Cli):
    engine.release(engine.try_acquire("dwh.sales", owner="pod-1:7"))  # type: ignore[arg-type]

    assert [(row["lock"], row["grants"]) for row in cli("stats", "-o", "json").json] == [("dwh.sales", 1)]
    assert [row["task_id"] for row in cli("stats", "--owners", "-o", "json").json] == ["pod-1:7"]


def test_doctor_examines_the_database_alone(engine: LeaseEngine, cli: Cli):
    told = cli("doctor", "-o", "json")

    assert told.code == 0
    assert {row["result"] for row in told.json} == {"ok"}
    assert {row["check"] for row in told.json} >= {"connection", "tables", "rights", "wake-up"}
    down = cli("doctor", "--dsn", "postgresql://x@127.0.0.1:1/nowhere")
    assert (down.code, down.err) == (3, "")
    assert "wrong" in down.out
