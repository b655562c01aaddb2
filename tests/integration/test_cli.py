"""`airflow locks …` through Airflow's own parser, on a real database."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from airflow_lockprovider import LeaseHook


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
def locks_cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, airflow_db: object) -> Cli:
    monkeypatch.setenv("COLUMNS", "250")

    def call(*words: str) -> Told:
        from airflow.cli.cli_parser import get_parser

        capsys.readouterr()
        code, said = 0, ""
        try:
            args = get_parser().parse_args(["locks", *words])
            args.func(args)
        except SystemExit as end:
            # Python itself prints a text and makes it code 1 when it reaches the top.
            code, said = (end.code, "") if isinstance(end.code, int) else (1, f"{end.code}\n")
        told = capsys.readouterr()
        return Told(code, told.out, told.err + said)

    return call


@pytest.fixture
def connection(database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", database)
    return database


@pytest.fixture
def locks(connection: str) -> Iterator[LeaseHook]:
    hook = LeaseHook()
    hook.init_schema()
    yield hook
    hook.close()


def one_line(told: Told) -> str:
    """The only line on stderr, of a command that failed."""
    assert told.code == 1
    assert told.out == ""
    (line,) = told.err.splitlines()
    assert line.startswith("airflow locks: ")
    return line


def test_init_creates_the_tables_and_says_when_there_was_nothing_to_do(connection: str, locks_cli: Cli):
    first, second = locks_cli("init"), locks_cli("init")

    assert (first.code, first.err, second.code, second.err) == (0, "", 0, "")
    assert first.out.startswith("schema 'lockprovider' of connection 'dwh_default': lock tables are now at version ")
    assert "were already at version" in second.out
    assert LeaseHook().leases() == []


def test_init_takes_another_connection_and_schema(database: str, monkeypatch: pytest.MonkeyPatch, locks_cli: Cli):
    monkeypatch.setenv("AIRFLOW_CONN_ELSEWHERE", database)

    told = locks_cli("init", "--conn-id", "elsewhere", "--schema", "etl_locks")

    assert told.code == 0
    assert "schema 'etl_locks' of connection 'elsewhere'" in told.out
    assert LeaseHook("elsewhere", schema="etl_locks").leases() == []


@pytest.fixture
def busy(locks: LeaseHook) -> Any:
    """dwh.sales: one holder and two in line; dwh.orders: held by another."""
    holder = locks.try_acquire("dwh.sales", owner="nightly/run/load#1", context={"dag_id": "nightly"})
    locks.enqueue("dwh.sales", owner_id="2", owner="hourly/run/load[3]#1")
    locks.enqueue("dwh.sales", owner_id="3", owner="weekly/run/load#1")
    locks.try_acquire("dwh.orders", owner="other/run/[bold]load#1")
    return holder


def test_list_shows_who_holds_what_as_a_table(busy: Any, locks_cli: Cli):
    told = locks_cli("list")

    head, _, *rows = [line.split("|") for line in told.out.splitlines() if "|" in line or "=" in line]
    assert [cell.strip() for cell in head] == ["lock", "owner", "token", "state", "held_for", "expires_in", "waiters"]
    assert [[cell.strip() for cell in row][:4] for row in rows][1] == [
        "dwh.sales",
        "nightly/run/load#1",
        str(busy.token),
        "held",
    ]
    assert rows[1][-1].strip() == "2"
    assert "[bold]load" in told.out


def test_list_of_one_lock(busy: Any, locks_cli: Cli):
    assert [row["lock"] for row in locks_cli("list", "--lock", "dwh.sales", "-o", "json").json] == ["dwh.sales"]


def test_json_and_yaml_are_whole_and_typed(busy: Any, locks_cli: Cli):
    (as_json,) = locks_cli("list", "--lock", "dwh.sales", "--output", "json").json
    (as_yaml,) = yaml.safe_load(locks_cli("list", "--lock", "dwh.sales", "--output", "yaml").out)

    assert as_json.keys() == as_yaml.keys()
    assert (as_json["token"], as_json["shared"], as_json["waiters"]) == (busy.token, False, 2)
    assert as_json["owner_id"] == busy.owner_id == as_yaml["owner_id"]
    assert as_json["context"] == {"dag_id": "nightly"}
    assert 0 < as_json["expires_in_seconds"] <= 120


def test_plain_has_one_line_for_each_row_and_no_frame(busy: Any, locks_cli: Cli):
    lines = locks_cli("list", "-o", "plain").out.splitlines()

    assert len(lines) == 3
    assert not [line for line in lines if "|" in line or "=" in line]


def test_queue_shows_the_line_in_order(busy: Any, locks_cli: Cli):
    rows = locks_cli("queue", "--lock", "dwh.sales", "-o", "json").json

    assert [(row["position"], row["owner"]) for row in rows] == [
        (1, "hourly/run/load[3]#1"),
        (2, "weekly/run/load#1"),
    ]
    assert "yes" in locks_cli("queue").out


def test_history_is_newest_first_and_limited(locks: LeaseHook, locks_cli: Cli):
    lease = locks.try_acquire("dwh.sales")
    locks.release(lease)

    assert [row["event"] for row in locks_cli("history", "-o", "json").json] == ["released", "granted"]
    assert [row["event"] for row in locks_cli("history", "--limit", "1", "-o", "json").json] == ["released"]
    assert locks_cli("history", "--lock", "other", "-o", "json").json == []


@pytest.mark.parametrize("verb", ["list", "queue", "history"])
@pytest.mark.parametrize("output", ["table", "plain", "json", "yaml"])
def test_nothing_to_show_is_no_error(locks: LeaseHook, locks_cli: Cli, verb: str, output: str):
    told = locks_cli(verb, "-o", output)

    assert (told.code, told.err) == (0, "")
    assert told.out.strip() == ("[]" if output in ("json", "yaml") else "No data found")


def test_show_has_all_of_one_lock(busy: Any, locks_cli: Cli):
    told = locks_cli("show", "dwh.sales")
    (whole,) = locks_cli("show", "dwh.sales", "-o", "json").json

    assert "dwh.sales: held by" in told.out
    assert "dwh.sales: in line" in told.out
    assert "dwh.orders" not in told.out
    assert [lease["token"] for lease in whole["leases"]] == [busy.token]
    assert [waiter["position"] for waiter in whole["queue"]] == [1, 2]
    assert [event["event"] for event in whole["events"]] == ["granted"]
    assert whole["paused"] is False


def test_show_says_that_a_lock_is_paused_by_whom_and_how_to_end_it(busy: Any, locks_cli: Cli):
    locks_cli("pause", "dwh.sales", "--reason", "maintenance", "--by", "ann")

    told = locks_cli("show", "dwh.sales")

    assert "dwh.sales: paused by ann: maintenance" in told.out
    assert "airflow locks resume dwh.sales" in told.out
    assert locks_cli("show", "dwh.sales", "-o", "json").json[0]["paused"] is True
    locks_cli("resume", "dwh.sales")
    assert "paused by" not in locks_cli("show", "dwh.sales").out.split("the last")[0]


def test_show_of_an_unknown_lock_is_an_error(locks: LeaseHook, locks_cli: Cli):
    assert one_line(locks_cli("show", "dwh.sale")) == (
        "airflow locks: nothing is known of a lock 'dwh.sale': see the names with airflow locks history"
    )


def test_revoke_takes_the_lock_away_and_records_who_and_why(busy: Any, locks: LeaseHook, locks_cli: Cli):
    told = locks_cli("revoke", "dwh.sales", "--reason", "stuck", "--by", "ann", "--yes")

    assert told.code == 0
    assert told.out == f"revoked: {busy}\n"
    newest = locks.history("dwh.sales", 1)[0]
    assert (newest.event, newest.actor, newest.reason, newest.token) == ("revoked", "ann", "stuck", busy.token)
    assert [lease.lock_name for lease in locks.leases()] == ["dwh.orders"]


def test_revoke_by_token_spares_the_others(locks: LeaseHook, locks_cli: Cli):
    first, second = (locks.try_acquire("pool", capacity=2) for _ in range(2))

    locks_cli("revoke", "pool", "--reason", "stuck", "--token", str(first.token), "--yes")

    assert [lease.token for lease in locks.leases("pool")] == [second.token]


def test_revoke_does_nothing_without_a_yes(
    busy: Any, locks: LeaseHook, locks_cli: Cli, monkeypatch: pytest.MonkeyPatch
):
    asked = []
    assert "add --yes" in one_line(locks_cli("revoke", "dwh.sales", "--reason", "stuck"))

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or "n")
    told = locks_cli("revoke", "dwh.sales", "--reason", "stuck")

    assert told.code == 1
    assert told.err == "airflow locks: nothing was revoked\n"
    assert asked == ["take 'dwh.sales' away from 1 owner? [y/N] "]
    assert len(locks.leases("dwh.sales")) == 1


def test_revoke_of_a_free_lock_is_an_error(locks: LeaseHook, locks_cli: Cli):
    told = locks_cli("revoke", "dwh.sales", "--reason", "stuck", "--yes")
    assert one_line(told) == "airflow locks: nobody holds lock 'dwh.sales': nothing was revoked"


def test_pause_stops_grants_until_resume(locks: LeaseHook, locks_cli: Cli):
    locks.release(locks.try_acquire("dwh.sales"))

    assert locks_cli("pause", "dwh.sales", "--reason", "maintenance").code == 0
    assert not locks.try_acquire("dwh.sales")
    assert locks_cli("resume", "dwh.sales").code == 0
    assert locks.try_acquire("dwh.sales")


def test_pause_of_an_unknown_lock_and_resume_of_a_running_one_are_errors(locks: LeaseHook, locks_cli: Cli):
    locks.try_acquire("dwh.sales")

    assert "there is no lock 'dwh.sale'" in one_line(locks_cli("pause", "dwh.sale", "--reason", "x"))
    assert "is not paused" in one_line(locks_cli("resume", "dwh.sales"))


def test_set_changes_the_capacity(locks: LeaseHook, locks_cli: Cli):
    locks.try_acquire("pool")

    assert locks_cli("set", "pool", "--capacity", "2").out == "set: 'pool' has capacity 2\n"

    assert locks.try_acquire("pool")
    assert not locks.try_acquire("pool")


def test_clean_up_says_how_much_it_removed(locks: LeaseHook, locks_cli: Cli, database: str):
    import psycopg

    locks.try_acquire("dwh.sales")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("update lockprovider.lease set expires_at = clock_timestamp() - interval '1 minute'")

    assert locks_cli("clean-up").out == "cleaned up: 1 leases and waiters\n"
    assert locks_cli("clean-up").out == "cleaned up: 0 leases and waiters\n"


VERBS = [
    ("init",),
    ("list",),
    ("queue",),
    ("history",),
    ("show", "a"),
    ("revoke", "a", "--reason", "x", "--yes"),
    ("pause", "a", "--reason", "x"),
    ("resume", "a"),
    ("set", "a", "--capacity", "2"),
    ("clean-up",),
]


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_missing_connection_is_one_line_that_names_it(locks_cli: Cli, words: tuple[str, ...]):
    line = one_line(locks_cli(*words, "--conn-id", "no_such"))
    assert "connection 'no_such'" in line
    assert "add it" in line


@pytest.mark.parametrize("words", [words for words in VERBS if words != ("init",)], ids=" ".join)
def test_missing_tables_are_one_line_with_the_command_that_makes_them(
    connection: str, locks_cli: Cli, words: tuple[str, ...]
):
    assert one_line(locks_cli(*words)).endswith("run: airflow locks init")


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_server_that_is_down_is_one_line(monkeypatch: pytest.MonkeyPatch, locks_cli: Cli, words: tuple[str, ...]):
    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", "postgresql://someone:hunter22@127.0.0.1:1/warehouse")
    line = one_line(locks_cli(*words))
    assert "does not serve" in line
    assert "port 1" in line
    assert "hunter22" not in line


def test_connection_of_another_type_is_one_line(monkeypatch: pytest.MonkeyPatch, locks_cli: Cli):
    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", "mysql://someone:hunter22@127.0.0.1:1/warehouse")
    assert "is of type 'mysql': locks need a Postgres one" in one_line(locks_cli("list"))


def test_connection_may_come_from_airflows_own_database(
    locks: LeaseHook, database: str, monkeypatch: pytest.MonkeyPatch, locks_cli: Cli
):
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session

    monkeypatch.delenv("AIRFLOW_CONN_DWH_DEFAULT")
    with create_session() as session:
        session.add(Connection(conn_id="from_the_database", uri=database))
    try:
        assert locks_cli("list", "--conn-id", "from_the_database", "-o", "json").json == []
    finally:
        with create_session() as session:
            session.query(Connection).filter_by(conn_id="from_the_database").delete()
