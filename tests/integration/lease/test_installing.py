# ruff: noqa: PT012  (it is the end of a longer block that raises)
"""Making and upgrading the tables."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from airflow_lockprovider.lease import ConfigurationError, LeaseEngine, SchemaOutdated, connect

Sql = psycopg.Connection[Any]


def test_installing_twice_does_nothing_the_second_time(database: str) -> None:
    engine = connect(database)
    assert engine.init_schema() is True
    lease = engine.try_acquire("x")
    assert engine.init_schema() is False
    assert connect(database).init_schema() is False
    assert engine.renew(lease).token == lease.token
    engine.close()


def test_installing_at_the_same_moment_works_for_all(database: str) -> None:
    start, answers = threading.Barrier(6), []

    def install() -> None:
        engine = connect(database)
        start.wait()
        answers.append(engine.init_schema())

    threads = [threading.Thread(target=install) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [False] * 5 + [True]


def test_an_upgrade_makes_the_functions_anew_and_keeps_leases_and_guards(engine: LeaseEngine, admin: Sql) -> None:
    lease = engine.try_acquire("x")
    admin.execute("update lockprovider.schema_version set digest = 'of an older package'")
    with engine.fenced(lease):
        pass
    assert engine.init_schema() is True
    assert engine.renew(lease).token == lease.token
    with engine.fenced(lease) as cursor:
        cursor.execute("select 1")
    assert admin.execute("select count(*) from pg_trigger where tgname = 'guard_not_alone'").fetchone() == (1,)


def test_verbs_without_tables_name_the_next_step(database: str) -> None:
    engine = connect(database)
    for verb in (lambda: engine.try_acquire("x"), engine.leases, engine.clean_up, lambda: engine.confirm(1, "me")):
        with pytest.raises(SchemaOutdated, match="run: airflow locks init"):
            verb()
    engine.close()


def test_tables_that_are_dropped_while_we_run_are_noticed(engine: LeaseEngine, admin: Sql) -> None:
    lease = engine.try_acquire("x")
    admin.execute("drop schema lockprovider cascade")
    with pytest.raises(SchemaOutdated, match="run: airflow locks init"):
        engine.try_acquire("y")
    with pytest.raises(SchemaOutdated):
        engine.renew(lease)
    with pytest.raises(SchemaOutdated):
        with engine.fenced(lease):
            pytest.fail("no table means no go-ahead")


def test_tables_of_a_newer_package_are_refused_and_left_alone(database: str, engine: LeaseEngine, admin: Sql) -> None:
    admin.execute("insert into lockprovider.schema_version values (999, 'x')")
    late = connect(database)
    with pytest.raises(SchemaOutdated, match="has version 999 of the lock tables, this package knows"):
        late.try_acquire("x")
    with pytest.raises(SchemaOutdated, match="upgrade airflow-lockprovider here"):
        late.init_schema()
    late.close()


def test_a_schema_that_belongs_to_something_else_is_left_alone(database: str, admin: Sql) -> None:
    admin.execute(
        "create schema sales; create table sales.orders (x int); create function sales.f() returns int return 1"
    )
    with pytest.raises(ConfigurationError, match=r'schema "sales" is in use by something else'):
        connect(database, schema="sales").init_schema()
    assert admin.execute("select sales.f()").fetchone() == (1,)


def test_two_schemas_in_one_database_know_nothing_of_each_other(database: str) -> None:
    one, two = connect(database), connect(database, schema="order")  # a reserved word, too
    one.init_schema()
    two.init_schema()
    assert one.try_acquire("x", "me")
    lease = two.try_acquire("x", "me")
    assert lease
    with two.fenced(lease) as cursor:
        cursor.execute("select 1")
    with two.store.transaction() as connection:
        connection.execute(lease.guard)
    one.close()
    two.close()


def test_a_plain_user_can_install_and_use_the_locks(database: str, admin: Sql, user: Callable[..., str]) -> None:
    dsn = user()
    name = psycopg.conninfo.conninfo_to_dict(dsn)
    admin.execute(f'grant create on database "{name["dbname"]}" to "{name["user"]}"')  # type: ignore[arg-type]
    engine = connect(dsn, schema="private_locks")
    assert engine.init_schema() is True
    lease = engine.try_acquire("x")
    with engine.fenced(lease) as cursor:
        cursor.execute("select 1")
    other = connect(dsn, schema="private_locks")
    with pytest.raises(psycopg.errors.AdminShutdown):
        with engine.fenced(lease) as cursor:
            other.revoke("x", by="me", reason="his own sessions he may end", terminate=True)
            cursor.execute("select 1")
    assert engine.init_schema() is False
    engine.close()
    other.close()


def test_a_user_who_may_not_install_is_told_so(user: Callable[..., str]) -> None:
    engine = connect(user())
    with pytest.raises(ConfigurationError, match="permission denied"):
        engine.init_schema()
