"""Who may do what with the tables of the locks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from airflow_lockprovider.lease import ConfigurationError, LeaseEngine, connect

User = Callable[..., str]
TABLES = ("lock", "lease", "waiter", "worker_session", "lease_event", "schema_version")
VIEWS = ("locks", "lock_queue", "lock_stats", "lock_owners", "lock_events")


@contextmanager
def _as(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


def _refused(connection: psycopg.Connection[Any], statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement)  # type: ignore[arg-type]


def test_a_worker_has_all_verbs_but_those_of_people(engine: LeaseEngine, user: User) -> None:
    worker = connect(user("lockprovider_worker"))
    try:
        lease = worker.try_acquire("x", "me")
        assert lease
        assert worker.renew(lease)
        with worker.fenced(lease) as cursor:
            cursor.execute("select 1")
        ticket = worker.enqueue("x", owner_id="you")
        assert worker.poll("a process", [ticket.number])
        assert worker.queue("x")
        assert worker.leases("x")
        assert worker.history("x")
        assert worker.release(lease)
        assert worker.reserve(ticket.number)
        assert worker.confirm(ticket.number, "you")
        assert worker.clean_up() == 0
        for verb in (
            lambda: worker.revoke("x", by="me", reason="why"),
            lambda: worker.pause("x", by="me", reason="why"),
            lambda: worker.resume("x", by="me"),
            lambda: worker.set_capacity("x", 5),
            worker.init_schema,
        ):
            with pytest.raises(ConfigurationError, match="permission denied"):
                verb()
    finally:
        worker.close()


@pytest.mark.parametrize("role", ["reader", "writer", "worker", "admin"])
def test_nobody_but_the_owner_writes_the_tables(engine: LeaseEngine, user: User, role: str) -> None:
    engine.try_acquire("x")
    with _as(user(f"lockprovider_{role}")) as connection:
        for table in TABLES:
            _refused(connection, f"delete from lockprovider.{table}")
            _refused(connection, f"insert into lockprovider.{table} default values")
            _refused(connection, f"truncate lockprovider.{table}")
        _refused(connection, "update lockprovider.lock set last_token = 0")
        _refused(connection, "update lockprovider.lease set expires_at = 'infinity'")
        _refused(connection, "update lockprovider.lease_event set actor = 'somebody else'")
        _refused(connection, "select nextval('lockprovider.ticket')")
        _refused(connection, "create table lockprovider.mine (x int)")
        _refused(connection, "select lockprovider._wake('x')")
        _refused(connection, "select lockprovider._remove_dead('x')")


def test_a_reader_sees_the_views_and_calls_nothing(engine: LeaseEngine, user: User) -> None:
    engine.try_acquire("x", "me")
    engine.enqueue("x", owner_id="you")
    with _as(user("lockprovider_reader")) as connection:
        assert connection.execute("select lock_name, owner_id, held, waiters from lockprovider.locks").fetchall() == [
            ("x", "me", True, 1)
        ]
        assert connection.execute("select owner_id from lockprovider.lock_queue").fetchall() == [("you",)]
        for view in VIEWS:
            connection.execute(f"select * from lockprovider.{view}")  # type: ignore[arg-type]
        _refused(connection, "select lockprovider.release('x', 1, 'me')")
        _refused(connection, "select * from lockprovider.try_acquire(array['x'], 'me')")
        _refused(connection, "select lockprovider.guard('x', 1)")


def test_a_writer_can_guard_its_writes_and_do_nothing_else(engine: LeaseEngine, user: User) -> None:
    lease = engine.try_acquire("x")
    with _as(user("lockprovider_writer")) as connection:
        with connection.transaction():
            connection.execute(lease.guard)
        _refused(connection, "select * from lockprovider.lease")
        _refused(connection, "select * from lockprovider.locks")
        _refused(connection, f"select lockprovider.release('x', {lease.token}, '{lease.owner_id}')")


def test_an_admin_has_all_verbs(engine: LeaseEngine, user: User) -> None:
    lease = engine.try_acquire("x")
    admin = connect(user("lockprovider_admin"))
    try:
        assert admin.pause("x", by="ann", reason="why")
        assert admin.resume("x", by="ann")
        admin.set_capacity("x", 2)
        assert [one.token for one in admin.revoke("x", by="ann", reason="why")] == [lease.token]
        assert admin.try_acquire("x")
    finally:
        admin.close()


def test_everybody_else_can_do_nothing(engine: LeaseEngine, user: User) -> None:
    lease = engine.try_acquire("x")
    with _as(user()) as connection:
        for relation in TABLES + VIEWS:
            _refused(connection, f"select * from lockprovider.{relation}")
        _refused(connection, f"select lockprovider.guard('x', {lease.token})")
        _refused(connection, "select * from lockprovider.try_acquire(array['x'], 'me')")
    nobody = connect(user())
    with pytest.raises(ConfigurationError, match=r"permission denied.*grant the role …_worker"):
        nobody.try_acquire("x")
    nobody.close()


def test_no_function_is_open_to_the_public_and_those_with_their_owners_rights_fix_their_search_path(
    engine: LeaseEngine, admin: Any
) -> None:
    """Usage on the schema might be granted some day: the functions must stand on their own."""
    rows = admin.execute(
        "select p.proname, p.prosecdef, p.proconfig, has_function_privilege('public', p.oid, 'execute')"
        " from pg_proc p where p.pronamespace = 'lockprovider'::regnamespace"
    ).fetchall()
    assert len(rows) > 20
    for name, definer, config, public in rows:
        assert not public, name
        # Parts of the verbs are granted to nobody, and run with the path of the verb that calls them.
        assert definer or name.startswith("_"), name
        if definer:
            assert "search_path=pg_catalog, pg_temp" in (config or []), name


def test_nobody_can_slip_objects_of_his_own_under_the_functions(engine: LeaseEngine, user: User, admin: Any) -> None:
    """Through the search path, or through temporary objects with the names of ours and of the catalog's."""
    admin.execute("create schema evil; grant create, usage on schema evil to public")
    dsn = user("lockprovider_worker")
    with _as(dsn) as connection:
        boom = "language plpgsql as $$ begin raise exception 'slipped in as %', current_user; end $$"
        for signature in (
            "clock_timestamp() returns timestamptz",
            "pg_is_in_recovery() returns boolean",
            "pg_notify(text, text) returns void",
            "current_setting(text) returns text",
            "btrim(text) returns text",
        ):
            connection.execute(f"create function evil.{signature} {boom}")  # type: ignore[arg-type]
            connection.execute(f"create function pg_temp.{signature} {boom}")  # type: ignore[arg-type]
        connection.execute(f"create function evil.eq(text, text) returns boolean {boom}")  # type: ignore[arg-type]
        connection.execute("create operator evil.= (leftarg = text, rightarg = text, function = evil.eq)")
        for table in ("lock", "lease", "waiter", "pg_locks", "pg_settings", "pg_namespace"):
            connection.execute(f"create temp table {table} (lock_name text)")  # type: ignore[arg-type]
        connection.execute("set search_path = pg_temp, evil, pg_catalog")
        connection.execute("select lockprovider.declare(array['x'])")
        granted = connection.execute("select outcome, token from lockprovider.try_acquire(array['x'], 'me')").fetchone()
        assert granted is not None
        assert granted[0] == "granted"
        with connection.transaction():
            connection.execute("select lockprovider.guard('x', %s)", (granted[1],))
        connection.execute("select * from lockprovider.enqueue(array['x'], 'you')")
        connection.execute("select * from lockprovider.poll('a process', array[1])")
        connection.execute("select lockprovider.clean_up()")
        assert connection.execute("select lockprovider.release('x', %s, 'me')", (granted[1],)).fetchone() == (True,)
    assert engine.leases() == []
