"""What has been done under which key."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from airflow_lockprovider.lease import ConfigurationError, LeaseEngine, LeaseLost

Sql = psycopg.Connection[Any]


def test_nothing_is_done_before_somebody_says_so(engine: LeaseEngine):
    assert engine.done("x", "2026-11-21") is None
    lease = engine.try_acquire("x")
    assert lease
    assert engine.check_once(lease, "2026-11-21") is None


def test_a_success_is_recorded_with_its_owner_and_token(engine: LeaseEngine):
    lease = engine.try_acquire("x", "me", owner="pod-1:7")
    assert lease
    done = engine.mark_done(lease, "2026-11-21")

    assert (done.token, done.owner_id, done.owner) == (lease.token, "me", "pod-1:7")
    assert engine.done("x", "2026-11-21") == engine.check_once(lease, "2026-11-21") == done
    assert engine.done("x", "2026-11-22") is None
    assert engine.done("y", "2026-11-21") is None
    newest = engine.history("x", 1)[0]
    assert (newest.event, newest.token, newest.reason) == ("done", lease.token, "2026-11-21")


def test_saying_it_twice_records_it_once(engine: LeaseEngine):
    lease = engine.try_acquire("x")
    assert lease
    assert engine.mark_done(lease, "k") == engine.mark_done(lease, "k")
    assert [event.event for event in engine.history("x")] == ["done", "granted"]


def test_the_first_success_stays_when_a_successor_says_it_too(engine: LeaseEngine):
    first = engine.try_acquire("x")
    assert first
    recorded = engine.mark_done(first, "k")
    engine.release(first)
    second = engine.try_acquire("x")
    assert second
    assert engine.mark_done(second, "k") == recorded


@pytest.mark.parametrize("ending", ["released", "revoked", "expired", "taken over"])
def test_a_late_owner_records_nothing(engine: LeaseEngine, sql: Sql, ending: str):
    lease = engine.try_acquire("x")
    assert lease
    if ending == "released":
        engine.release(lease)
    elif ending == "revoked":
        engine.revoke("x", by="ann", reason="stuck")
    else:
        sql.execute("update lockprovider.lease set expires_at = clock_timestamp() - interval '1 second'")
    if ending == "taken over":
        assert engine.try_acquire("x")

    with pytest.raises(LeaseLost):
        engine.mark_done(lease, "k")
    assert engine.done("x", "k") is None


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


@pytest.mark.parametrize("request_", [{"shared": True}, {"capacity": 2}, {"capacity": 4, "units": 2}])
def test_a_lease_that_lets_others_work_beside_it_is_refused(engine: LeaseEngine, request_: dict[str, Any]):
    lease = engine.try_acquire("x", **request_)
    assert lease
    with pytest.raises(ConfigurationError, match="more than half of the capacity"):
        engine.check_once(lease, "k")
    with pytest.raises(ConfigurationError, match="more than half of the capacity"):
        engine.mark_done(lease, "k")
    assert engine.done("x", "k") is None


def test_more_than_half_of_the_capacity_is_enough(engine: LeaseEngine):
    lease = engine.try_acquire("x", capacity=3, units=2)
    assert lease
    assert engine.check_once(lease, "k") is None
    assert engine.mark_done(lease, "k").token == lease.token


@pytest.mark.parametrize("key", ["", "  ", "k" * 501])
def test_a_key_has_1_to_500_characters(engine: LeaseEngine, key: str):
    lease = engine.try_acquire("x")
    assert lease
    with pytest.raises(ConfigurationError, match="1 to 500 characters"):
        engine.mark_done(lease, key)


def test_a_key_can_be_forgotten_which_history_keeps(engine: LeaseEngine):
    lease = engine.try_acquire("x")
    assert lease
    engine.mark_done(lease, "k")
    engine.mark_done(lease, "other")

    assert engine.forget_done("x", "k") is True
    assert engine.forget_done("x", "k") is False
    assert engine.done("x", "k") is None
    assert engine.done("x", "other") is not None
    assert (engine.history("x", 1)[0].event, engine.history("x", 1)[0].reason) == ("forgotten", "k")


def test_old_keys_are_pruned_by_age(engine: LeaseEngine, sql: Sql):
    for name in ("a", "b"):
        lease = engine.try_acquire(name)
        assert lease
        engine.mark_done(lease, "k")
    sql.execute("update lockprovider.done set done_at = done_at - interval '40 days' where lock_name = 'a'")

    assert engine.prune_done(30 * 86400) == 1
    assert engine.done("a", "k") is None
    assert engine.done("b", "k") is not None
    with pytest.raises(ConfigurationError, match="older_than"):
        engine.prune_done(0)


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
