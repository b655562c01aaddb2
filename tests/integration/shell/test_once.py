"""What has been done under which key, in Postgres. The contract of every dialect: tests/conformance/test_once.py."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from airflow_lockprovider.lease import LeaseEngine

Sql = psycopg.Connection[Any]


def test_somebody_who_knows_the_token_but_is_not_the_owner_records_nothing(engine: LeaseEngine, sql: Sql):
    lease = engine.try_acquire("x", "me")
    assert lease
    with pytest.raises(psycopg.DatabaseError, match="belongs to somebody else"):
        sql.execute("select lockprovider.mark_done('x', %s, 'you', 'k')", (lease.token,))
    assert engine.done("x", "k") is None


def test_nobody_is_let_in_between_the_check_and_the_record(engine: LeaseEngine, sql: Sql):
    lease = engine.try_acquire("x", "me")
    assert lease
    with sql.transaction():
        sql.execute("select lockprovider.mark_done('x', %s, 'me', 'k')", (lease.token,))
        engine.revoke("x", by="ann", reason="stuck")
        assert not engine.try_acquire("x")
    second = engine.try_acquire("x")
    assert second
    assert engine.check_once(second, "k") is not None


def test_work_and_record_can_be_one_guarded_transaction(engine: LeaseEngine, sql: Sql):
    sql.execute("create table written (what text)")
    lease = engine.try_acquire("x", "me")
    assert lease
    mark = "select lockprovider.mark_done('x', %s, 'me', 'k')"

    def broken() -> None:
        with engine.fenced(lease) as cursor:
            cursor.execute("insert into written values ('half')")
            cursor.execute(mark, (lease.token,))
            raise RuntimeError("after the record")

    with pytest.raises(RuntimeError):
        broken()
    assert engine.done("x", "k") is None
    with engine.fenced(lease) as cursor:
        cursor.execute("insert into written values ('whole')")
        cursor.execute(mark, (lease.token,))
    assert sql.execute("select what from written").fetchall() == [("whole",)]
    assert engine.done("x", "k") == engine.mark_done(lease, "k")


def test_forgetting_everything_by_accident_is_refused(sql: Sql, engine: LeaseEngine):
    for words in ("null, null", "'x', null", "null, 'k'", "null, null, null"):
        with pytest.raises(psycopg.DatabaseError, match="needs a lock with a key, or an age"):
            sql.execute(f"select lockprovider.forget_done({words})")  # type: ignore[arg-type]


def test_a_worker_may_record_and_only_an_admin_may_forget(engine: LeaseEngine, sql: Sql):
    asked = "select has_function_privilege(%s, oid, 'execute') from pg_proc where proname = %s"

    def may(role: str, function: str) -> bool:
        return bool(sql.execute(asked, (f"lockprovider_{role}", function)).fetchall()[0][0])

    assert [may(role, "mark_done") for role in ("reader", "writer", "worker", "admin")] == [False, False, True, True]
    assert [may(role, "forget_done") for role in ("reader", "writer", "worker", "admin")] == [False, False, False, True]
