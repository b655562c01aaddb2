"""The connection that a locked task takes, because its driver is loaded soon."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from airflow_lockprovider import LeaseHook


def driver(hook: LeaseHook) -> str:
    connection = hook.get_conn()
    try:
        return type(connection).__module__.split(".")[0]
    finally:
        connection.close()


@pytest.fixture
def as_connection(database: str, monkeypatch: pytest.MonkeyPatch):
    def put(**extra: object) -> LeaseHook:
        parts = database.removeprefix("postgresql://")
        login, _, rest = parts.rpartition("@")
        host, _, name = rest.partition("/")
        user, _, password = login.partition(":")
        address, _, port = host.partition(":")
        described = {
            "conn_type": "postgres",
            "host": address,
            "port": int(port) if port else None,
            "login": user,
            "password": password,
            "schema": name.partition("?")[0],
            "extra": extra,
        }
        monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", json.dumps(described))
        return LeaseHook(quick=True)

    return put


def test_a_plain_connection_is_opened_by_psycopg2(as_connection):
    pytest.importorskip("psycopg2")
    assert driver(as_connection(application_name="locks")) == "psycopg2"
    assert driver(as_connection(iam=False, cursor=None)) == "psycopg2"


def test_what_only_airflows_hook_can_do_is_left_to_it(as_connection):
    assert driver(as_connection(cursor="dictcursor")) != "psycopg2"
    assert driver(as_connection(sqlalchemy_scheme="postgresql+psycopg")) != "psycopg2"


def test_without_psycopg2_airflows_hook_opens_it(as_connection, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    assert driver(as_connection()) == "psycopg"


def test_options_of_libpq_arrive_and_so_do_ours(as_connection):
    hook = as_connection(application_name="locks", options="-c search_path=pg_catalog")
    connection = hook.get_conn()
    try:
        said = connection.get_dsn_parameters()
        assert said["application_name"] == "locks"
        assert said["options"] == "-c search_path=pg_catalog"
        assert said["target_session_attrs"] == "read-write"
        assert said["connect_timeout"] == "10"
    finally:
        connection.close()


def test_every_verb_works_over_it(as_connection):
    hook = as_connection()
    hook.init_schema()
    with hook.hold(["dwh.a", "dwh.b"]) as leases:
        assert not hook.try_acquire("dwh.a")
        with hook.fenced(leases) as cursor:
            cursor.execute("select 1")
        hook.renew(leases)
    assert hook.leases() == []
    hook.close()


def test_a_process_that_takes_a_lock_for_a_task_loads_neither_airflows_hook_nor_psycopg(database: str):
    code = """
import sys
from airflow_lockprovider import LeaseHook

hook = LeaseHook(quick=True)
hook.init_schema()
hook.release(hook.try_acquire("x"))
print([name for name in ("psycopg", "airflow.providers.postgres.hooks.postgres") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "AIRFLOW_CONN_DWH_DEFAULT": database},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"
