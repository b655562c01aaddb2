"""`airflow locks doctor`: each thing that can be wrong is found, named, and has a next step."""

from __future__ import annotations

import itertools
import os
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from airflow_lockprovider import LeaseHook
from airflow_lockprovider.desk.doctor import examine
from tests.faults.pooler import PROGRAM, Pooler
from tests.integration.test_cli import Cli, connection, locks, locks_cli

__all__ = ["connection", "locks", "locks_cli"]
_numbers = itertools.count(1)


@pytest.fixture
def findings(locks_cli: Cli):
    """Run the doctor: check → its row; and the exit code under ``code``."""

    def findings(*words: str):
        told = locks_cli("doctor", "-o", "json", *words)
        return {row["check"]: row for row in told.json} | {"code": told.code}

    return findings


@pytest.fixture
def triggerer(airflow_db):
    """A triggerer that says it lives."""
    from airflow._shared.timezones import timezone
    from airflow.jobs.job import Job
    from airflow.utils.session import create_session

    with create_session() as session:
        job = Job()
        job.job_type, job.state, job.latest_heartbeat = "TriggererJob", "running", timezone.utcnow()
        session.add(job)
        session.flush()
        number = job.id
    yield
    with create_session() as session:
        session.delete(session.get(Job, number))


def test_where_all_is_well_the_exit_code_is_0(locks: LeaseHook, triggerer, findings):
    seen = findings()

    assert seen.pop("code") == 0
    results = {check: row["result"] for check, row in seen.items()}
    assert results.pop("alerts") == "warning"  # nobody would hear of anything
    assert set(results.values()) == {"ok"}, results
    assert results.keys() >= {"connection", "clock", "tables", "server", "rights", "wake-up", "connections", "ttl"}
    assert "may look, take locks, revoke and pause" in seen["rights"]["text"]
    assert seen["triggerer"]["text"] == "1 alive"


def test_people_get_a_table_with_the_next_steps_below_it(locks: LeaseHook, locks_cli: Cli):
    told = locks_cli("doctor")

    assert told.code == 3
    assert "triggerer: start one: airflow triggerer" in told.out
    assert "wrong" in told.out
    assert "a notification of the database arrives" in told.out


def test_no_tables_is_told_with_the_command_that_makes_them(connection: str, findings):
    seen = findings()

    assert seen["code"] == 3
    assert seen["connection"]["result"] == seen["server"]["result"] == "ok"
    assert seen["tables"]["result"] == "wrong"
    assert seen["tables"]["todo"] == "airflow locks init"
    assert not {"rights", "wake-up"} & seen.keys()  # one thing after the other


def test_no_server_and_no_connection_are_findings_like_others(findings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", "postgresql://someone:hunter22@127.0.0.1:1/warehouse")
    down = findings()
    assert (down["code"], down["connection"]["result"]) == (3, "wrong")
    assert "port 1" in down["connection"]["text"]
    assert "hunter22" not in str(down)
    assert "tables" not in down

    assert "add it" in findings("--conn-id", "no_such")["connection"]["text"]


def test_an_older_version_of_the_tables_is_told(locks: LeaseHook, findings, database: str):
    with psycopg.connect(database, autocommit=True) as opened:
        opened.execute("update lockprovider.schema_version set version = 1")

    tables = findings()["tables"]

    assert tables["result"] == "wrong"
    assert "has version 1 of the lock tables" in tables["text"]
    assert "run: airflow locks init" in tables["text"]


@pytest.fixture
def user(database: str):
    """A database user with one of our roles, and nothing else."""
    made = []

    def make(role: str | None, *settings: str) -> str:
        name = f"doctor_{os.getpid()}_{next(_numbers)}"
        with psycopg.connect(database, autocommit=True) as opened:
            opened.execute(f"create role {name} login password 'secret'".encode())
            made.append(name)
            if role:
                opened.execute(f"grant {role} to {name}".encode())
            for setting in settings:
                opened.execute(f"alter role {name} set {setting}".encode())
        parts = urlsplit(database)
        return urlunsplit(parts._replace(netloc=f"{name}:secret@{parts.hostname}:{parts.port}"))

    yield make
    with psycopg.connect(database, autocommit=True) as opened:
        for name in made:
            opened.execute(f"drop role {name}".encode())


@pytest.mark.parametrize(
    ("role", "result", "may"),
    [
        (None, "wrong", "nothing"),
        ("lockprovider_reader", "wrong", "look"),
        ("lockprovider_writer", "wrong", "nothing"),
        ("lockprovider_worker", "ok", "look, take locks"),
        ("lockprovider_admin", "ok", "look, take locks, revoke and pause"),
    ],
)
def test_what_the_connections_user_may_do_is_told(
    locks: LeaseHook, user, findings, monkeypatch: pytest.MonkeyPatch, role, result, may
):
    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", user(role))

    rights = findings()["rights"]

    assert rights["result"] == result
    assert rights["text"].endswith(f"' may {may}")
    assert ("grant lockprovider_worker to doctor_" in rights["todo"]) is (result == "wrong")


def test_statements_that_end_too_early_are_told(locks: LeaseHook, user, findings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", user("lockprovider_worker", "statement_timeout = '3s'"))

    found = findings()["statement_timeout"]

    assert found["result"] == "warning"
    assert "end after 3 s" in found["text"]


def test_a_server_that_takes_no_writes_is_told(locks: LeaseHook, user, findings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", user("lockprovider_worker", "default_transaction_read_only = on"))

    seen = findings()

    assert seen["code"] == 3
    assert "primary server" in seen["connection"]["todo"]


@pytest.mark.parametrize(
    ("options", "check", "says"),
    [
        ({"LOCKPROVIDER__TTL": "50"}, "ttl", "ttl of 62 s or more"),
        ({"TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "120"}, "ttl", "ttl of 200 s or more"),
        ({"LOCKPROVIDER__RENEW_EVERY": "70"}, "ttl", "ttl of 122 s or more"),
        ({"LOCKPROVIDER__HANDOVER_TTL": "5"}, "handover", "the default is 60"),
    ],
)
def test_durations_that_do_not_fit_this_airflow_are_told_with_better_ones(
    locks: LeaseHook, findings, monkeypatch: pytest.MonkeyPatch, options, check, says
):
    for name, value in options.items():
        monkeypatch.setenv(f"AIRFLOW__{name}", value)

    found = findings()[check]

    assert found["result"] == "warning"
    assert says in found["todo"]


def test_files_and_options_that_cannot_be_read_are_told(locks: LeaseHook, findings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW__LOCKPROVIDER__RULES", "/nowhere/rules.yaml")
    monkeypatch.setenv("AIRFLOW__LOCKPROVIDER__ALERTS", "/nowhere/alerts.yaml")
    monkeypatch.setenv("AIRFLOW__LOCKPROVIDER__WATCH_QUEUE", "many")

    seen = findings()

    assert {seen[check]["result"] for check in ("rules", "alerts", "watch")} == {"wrong"}
    assert "/nowhere/rules.yaml" in seen["rules"]["text"]
    assert "/nowhere/alerts.yaml" in seen["alerts"]["text"]
    assert "watch_queue='many'" in seen["watch"]["text"]


def test_listening_that_is_switched_off_is_in_order(locks: LeaseHook, findings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW__LOCKPROVIDER__LISTEN", "False")
    assert findings()["wake-up"]["text"] == "listen is off: waiters look every 1 s"


@pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed: apt install pgbouncer")
def test_a_pooler_that_swallows_notifications_is_found(locks: LeaseHook, database: str, findings, monkeypatch):
    pooler = Pooler(database)
    try:
        monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", pooler.dsn(database))
        found = findings()["wake-up"]
    finally:
        pooler.stop()

    assert found["result"] == "warning"
    assert "there is a pooler in between" in found["text"]
    assert "listen = False" in found["todo"]


def test_a_machine_whose_clock_is_wrong_is_told(locks: LeaseHook, database: str, monkeypatch: pytest.MonkeyPatch):
    import datetime as module

    class Late(module.datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) - module.timedelta(minutes=3)

    monkeypatch.setattr("airflow_lockprovider.desk.doctor.datetime", Late)

    (clock,) = [finding for finding in examine(locks, "airflow locks") if finding.check == "clock"]

    assert clock.result == "warning"
    assert "180" in clock.text


def test_channels_of_alerts_are_counted_and_the_listener_is_told(
    locks: LeaseHook, findings, monkeypatch: pytest.MonkeyPatch, tmp_path
):
    file = tmp_path / "alerts.yaml"
    file.write_text(
        "channels:\n  - notifier: airflow_lockprovider.notifications.EventBridgeNotifier\n    event_bus: x\n"
    )
    monkeypatch.setenv("AIRFLOW__LOCKPROVIDER__ALERTS", str(file))
    assert findings()["alerts"]["text"] == "channels that hear of what DAGs, tasks and the watch tell them: 1"
    monkeypatch.setenv("AIRFLOW__LOCKPROVIDER__ALERT_EVERY_FAILURE", "True")

    alerts = findings()["alerts"]

    assert alerts["result"] == "ok"
    assert alerts["text"].startswith(
        "channels that hear of every failed task: 1; with any listener Airflow 3.3 refuses"
    )
