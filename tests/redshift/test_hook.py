"""LeaseHook over Airflow connections to Redshift, and the dialect through redshift_connector.

The server is a Postgres in Redshift mode. redshift_connector is the real one, behind a gate that takes out what only
Redshift understands of its first packet.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from airflow_lockprovider import LeaseHook
from airflow_lockprovider.demo.postgres import EmbeddedPostgres
from airflow_lockprovider.exceptions import ConfigurationError, LeaseLost
from airflow_lockprovider.lease import connect
from airflow_lockprovider.lease.alert_ledger import AlertLedger
from airflow_lockprovider.lease.redshift import RedshiftStore
from airflow_lockprovider.notifications import AlertNotifier
from tests.conformance.dialects import Redshift
from tests.redshift.conftest import marked_connection
from tests.redshift.connector_gate import ConnectorGate

pytest.importorskip("redshift_connector")

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
END_SESSIONS = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'connector'"


@pytest.fixture(autouse=True)
def _no_supervisor(monkeypatch: pytest.MonkeyPatch, airflow_db: Any) -> None:
    """Connections come from the environment, or from nowhere."""
    from airflow.sdk.execution_time import task_runner

    monkeypatch.delattr(task_runner, "SUPERVISOR_COMMS", raising=False)


@pytest.fixture
def gate(redshift: Redshift, postgres: EmbeddedPostgres) -> Iterator[ConnectorGate]:
    """Where redshift_connector finds the server. It knows no SCRAM, so its user needs no password here."""
    rules = postgres.data_dir / "cluster" / "pg_hba.conf"
    before = rules.read_text(encoding="utf-8")
    with psycopg.connect(redshift.dsn, autocommit=True) as connection:
        connection.execute("create role connector superuser login")
        rules.write_text(f"host all connector 127.0.0.1/32 trust\n{before}", encoding="utf-8")
        connection.execute("select pg_reload_conf()")
        try:
            with ConnectorGate(postgres.port) as gate:
                yield gate
        finally:
            rules.write_text(before, encoding="utf-8")
            connection.execute("select pg_reload_conf()")
            connection.execute(
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'connector'"
            )
            connection.execute("drop owned by connector cascade")
            connection.execute("drop role connector")


@pytest.fixture
def hook(redshift: Redshift, gate: ConnectorGate, monkeypatch: pytest.MonkeyPatch) -> Iterator[LeaseHook]:
    """Over a connection of type redshift."""
    found = {
        "conn_type": "redshift",
        "host": "127.0.0.1",
        "port": gate.port,
        "login": "connector",
        "password": "-",
        "schema": urlsplit(redshift.dsn).path.lstrip("/"),
        "extra": {"ssl": False},
    }
    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", json.dumps(found))
    hook = LeaseHook()
    yield hook
    hook.close()


def test_all_verbs_work_through_redshift_connector(redshift: Redshift, hook: LeaseHook) -> None:
    redshift.query("create table public.sales (amount int)")
    lease = hook.try_acquire("dwh.sales", "me", ttl=60, owner="naïve 🔒 o'hara", context={"a": [1, "%s"]})
    assert type(hook.get_conn()).__module__.startswith("redshift_connector")
    assert (lease.owner, lease.context, lease.remaining) == ("naïve 🔒 o'hara", {"a": [1, "%s"]}, 60)
    assert not hook.try_acquire("dwh.sales", "you")
    ticket = hook.enqueue("dwh.sales", owner_id="you")
    assert [(one.owner_id, one.position) for one in hook.queue()] == [("you", 1)]
    assert [one.verdict for one in hook.poll("a process", [ticket.number])] == ["wait"]
    with hook.fenced(lease) as cursor:
        cursor.execute("insert into public.sales values (1)")
    assert hook.renew(lease, ttl=600).remaining == 600
    assert hook.release(lease)
    reserved = hook.reserve(ticket.number)
    assert reserved.state == "reserved"
    held = hook.confirm(ticket.number, "you", hold_at_least=5)
    assert held.token == reserved.token
    assert [one.token for one in hook.leases()] == [held.token]
    assert [one.token for one in hook.revoke("dwh.sales", by="ann", reason="stuck")] == [held.token]
    with pytest.raises(LeaseLost, match="it was revoked by ann: stuck"):
        hook.renew(held)
    with pytest.raises(LeaseLost), hook.fenced(held):
        pytest.fail("the guard let it in")
    assert hook.pause("dwh.sales", by="ann", reason="repairs")
    assert hook.try_acquire("dwh.sales").paused
    assert hook.resume("dwh.sales", by="ann")
    hook.set_capacity("dwh.sales", 2)
    assert hook.release(hook.try_acquire("dwh.sales"))
    assert hook.clean_up() == 1
    with hook.hold(["a", "b"], ttl=60) as both:
        assert sorted(both) == ["a", "b"]
    told = [event.event for event in reversed(hook.history("dwh.sales"))]
    assert told == [
        "granted",
        "released",
        "reserved",
        "confirmed",
        "revoked",
        "paused",
        "resumed",
        "granted",
        "released",
    ]
    assert redshift.query("select amount from public.sales") == [1]


def test_a_guarded_transaction_drains_through_redshift_connector(redshift: Redshift, hook: LeaseHook) -> None:
    lease, other = hook.try_acquire("x"), redshift.engine()
    with pytest.raises(LeaseLost, match="it is released"), hook.fenced(lease) as cursor:  # noqa: PT012
        cursor.execute("create table public.sales (amount int)")
        assert other.release(lease)
        assert not other.try_acquire("x")
    lease = other.try_acquire("x")
    assert lease
    with pytest.raises(LeaseLost, match="it is released"), other.fenced(lease):  # noqa: PT012
        assert hook.release(lease)
        assert not hook.try_acquire("x"), "its wait for the fence ends in time"
    assert hook.try_acquire("x")


def test_alerts_are_throttled_and_the_recovery_is_told_through_redshift_connector(hook: LeaseHook) -> None:
    told: list[Any] = []
    alerts = AlertNotifier(channels=[lambda context: told.append(context["alert"])])
    for number, (state, second) in enumerate([("failed", 0), ("failed", 59), ("failed", 60), ("success", 61)]):
        task = {"dag_id": "nightly", "run_id": f"run {number}", "task_id": "o'hara", "map_index": 3, "try_number": 1}
        ti = SimpleNamespace(**task, max_tries=0, state=state, id=str(number))
        alerts.tell({"ti": ti, "exception": None}, at=NOON + timedelta(seconds=second))
    assert [(one.recovered, one.occurrences, one.unknown, one.first_seen) for one in told] == [
        (False, 1, 1, NOON),
        (False, 3, 2, NOON),
        (True, 3, 0, NOON),
    ]
    assert AlertLedger(hook.store).seen("now", "now")[0]
    assert AlertLedger(hook.store).due("", at=NOON) == []
    assert AlertLedger(hook.store).open() == ["now"]


def test_the_schema_is_installed_through_redshift_connector(redshift: Redshift, hook: LeaseHook) -> None:
    redshift.query("drop schema lockprovider cascade")
    assert hook.init_schema() is True
    assert hook.init_schema() is False
    assert hook.try_acquire("x")


def test_a_connection_that_breaks_is_opened_anew(redshift: Redshift, hook: LeaseHook) -> None:
    lease = hook.try_acquire("x")
    redshift.query(END_SESSIONS)
    began = time.monotonic()
    assert hook.renew(lease).token == lease.token
    assert time.monotonic() - began < 5


def test_many_threads_through_redshift_connector_never_share_a_connection(hook: LeaseHook) -> None:
    granted: list[bool] = []

    def work() -> None:
        granted.append(bool(hook.try_acquire("x")))
        hook.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(granted) == [False, False, False, True]


def test_a_dsn_that_says_redshift_is_opened_by_redshift_connector(redshift: Redshift, gate: ConnectorGate) -> None:
    name = urlsplit(redshift.dsn).path
    engine = connect(f"redshift://connector:-@127.0.0.1:{gate.port}{name}?ssl=false", dialect="redshift")
    lease = engine.try_acquire("x")
    assert redshift.engine().renew(lease)
    engine.close()


@pytest.mark.parametrize("marked", [True, "true"])
def test_a_postgres_connection_can_be_marked_as_redshift(
    redshift: Redshift, monkeypatch: pytest.MonkeyPatch, marked: object
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", marked_connection(redshift, marked))
    hook = LeaseHook("warehouse")
    lease = hook.try_acquire("x")
    assert isinstance(hook.store, RedshiftStore)
    assert lease.guard.startswith("lock lockprovider.fence_")
    assert redshift.engine().renew(lease)
    hook.close()


def test_redshift_connector_that_is_missing_is_named(hook: LeaseHook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "airflow.providers.amazon.aws.hooks.redshift_sql", raising=False)
    monkeypatch.setitem(sys.modules, "redshift_connector", None)
    with pytest.raises(ConfigurationError, match=r"'dwh_default' is a Redshift one.*airflow-lockprovider\[redshift\]"):
        hook.try_acquire("x")
