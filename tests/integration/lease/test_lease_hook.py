"""LeaseHook: the same verbs over an Airflow connection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from airflow_lockprovider import LeaseHook
from airflow_lockprovider.demo.ports import free_port
from airflow_lockprovider.exceptions import ConfigurationError, LeaseLost, SchemaOutdated, StoreUnavailable


@pytest.fixture(autouse=True)
def _no_supervisor(monkeypatch: pytest.MonkeyPatch, airflow_db: Any) -> None:
    """Connections come from the environment, or from nowhere."""
    from airflow.sdk.execution_time import task_runner

    monkeypatch.delattr(task_runner, "SUPERVISOR_COMMS", raising=False)


@pytest.fixture
def hook(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[LeaseHook]:
    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", database)
    hook = LeaseHook()
    hook.init_schema()
    yield hook
    hook.close()


def test_the_hook_has_all_verbs_over_the_default_connection(hook: LeaseHook) -> None:
    with hook.hold("dwh.sales", ttl=60) as lease:
        assert not hook.try_acquire("dwh.sales")
        with hook.fenced(lease) as cursor:
            cursor.execute("create table sales (amount int)")
        assert hook.queue() == []
    assert hook.leases() == []
    assert [event.event for event in hook.history("dwh.sales")] == ["released", "guarded", "granted"]


def test_making_a_hook_looks_nothing_up() -> None:
    assert LeaseHook("no_such_connection").lease_conn_id == "no_such_connection"


def test_durations_and_schema_come_from_the_configuration(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LOCKS", database)
    monkeypatch.setenv("AIRFLOW__LOCKPROVIDER__LEASE_CONN_ID", "locks")
    monkeypatch.setenv("AIRFLOW__LOCKPROVIDER__SCHEMA", "our_locks")
    monkeypatch.setenv("AIRFLOW__LOCKPROVIDER__TTL", "5 mins")
    hook = LeaseHook()
    hook.init_schema()
    lease = hook.try_acquire("x")
    assert lease.ttl == 300
    assert "our_locks" in lease.guard
    hook.close()
    monkeypatch.setenv("AIRFLOW__LOCKPROVIDER__TTL", "soon")
    with pytest.raises(ConfigurationError, match=r"\[lockprovider\] ttl='soon' is not a duration"):
        LeaseHook()


def test_missing_tables_name_the_next_step(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", database)
    with pytest.raises(SchemaOutdated, match="run: airflow locks init"):
        LeaseHook().try_acquire("x")


def test_a_missing_connection_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"connection 'no_such' for the locks cannot be read.*lease_conn_id"):
        LeaseHook("no_such").try_acquire("x")
    with pytest.raises(ConfigurationError, match="connection 'no_such'"):
        asyncio.run(LeaseHook("no_such").resolve())


def test_a_connection_of_another_type_is_refused_by_name_and_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_A_MYSQL", "mysql://user:secret@127.0.0.1/db")
    with pytest.raises(
        ConfigurationError, match="'a_mysql' is of type 'mysql': locks need a Postgres one or a Redshift one"
    ) as caught:
        LeaseHook("a_mysql").try_acquire("x")
    assert "secret" not in str(caught.value)


def test_a_wrong_password_means_no_and_is_not_shown(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = urlsplit(database)
    wrong = parts._replace(netloc=f"{parts.username}:not-this-one@{parts.hostname}:{parts.port}").geturl()
    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", wrong)
    with pytest.raises(StoreUnavailable, match="password authentication failed") as caught:
        LeaseHook().try_acquire("x")
    assert "not-this-one" not in str(caught.value)


def test_a_server_that_is_not_there_means_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", f"postgresql://user:x@127.0.0.1:{free_port()}/db")
    hook = LeaseHook()
    with pytest.raises(StoreUnavailable, match="the database with the locks does not serve"):
        hook.try_acquire("x")
    with pytest.raises(StoreUnavailable):
        with hook.hold("x"):
            pytest.fail("no connection means no go-ahead")


def test_extras_of_the_connection_reach_the_driver_and_win(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = psycopg.conninfo.conninfo_to_dict(database)
    connection = {
        "conn_type": "postgres",
        "host": parts["host"],
        "port": int(parts["port"]),
        "login": parts["user"],
        "password": parts["password"],
        "schema": parts["dbname"],
        "extra": {"application_name": "the locks", "keepalives_idle": 7},
    }
    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", json.dumps(connection))
    opened = LeaseHook().get_conn()
    try:
        with opened.cursor() as cursor:
            cursor.execute("show application_name")
            assert tuple(cursor.fetchone()) == ("the locks",)
        given = opened.info.dsn_parameters if hasattr(opened.info, "dsn_parameters") else opened.info.get_parameters()
        assert given["keepalives_idle"] == "7"
        assert given["target_session_attrs"] == "read-write"
    finally:
        opened.close()


def test_the_connection_can_be_looked_up_without_blocking_a_loop(hook: LeaseHook) -> None:
    async def ask() -> int:
        other = LeaseHook()
        await other.resolve()
        leases = await asyncio.to_thread(other.leases)
        return len(leases)

    hook.try_acquire("x")
    assert asyncio.run(ask()) == 1


def test_a_loss_is_the_same_error_everywhere(hook: LeaseHook) -> None:
    lease = hook.try_acquire("x")
    hook.revoke("x", by="ann", reason="stuck")
    with pytest.raises(LeaseLost, match="it was revoked by ann: stuck"):
        hook.renew(lease)
