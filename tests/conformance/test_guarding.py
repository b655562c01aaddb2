# ruff: noqa: PT012  (it is the end of a longer block that raises)
"""Guarded transactions: what they write stands only under the lease, and nobody else is granted it meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_lockprovider.lease import Lease, LeaseEngine, LeaseLost
from airflow_lockprovider.lease.errors import StoreError
from tests.conformance.dialects import Dialect

ENDINGS = ["release", "revoke", "expiry", "expiry and clean-up"]


@pytest.fixture(autouse=True)
def _sales(dialect: Dialect) -> None:
    dialect.query("create table public.sales (amount int)")


def _end(dialect: Dialect, lease: Lease, how: str) -> None:
    """End the lease from outside, by another connection."""
    engine = dialect.engine()
    match how:
        case "release":
            assert engine.release(lease)
        case "revoke":
            assert engine.revoke(lease.lock_name, by="ann", reason="stuck")
        case "expiry":
            dialect.expire(lease)
        case "expiry and clean-up":
            dialect.expire(lease)
            engine.clean_up()


def test_a_guarded_write_stands_while_the_lease_is_ours(dialect: Dialect, engine: LeaseEngine) -> None:
    lease = engine.try_acquire("x")
    with engine.fenced(lease) as cursor:
        cursor.execute("insert into public.sales values (%s)", (1,))
        cursor.execute("select count(*) from public.sales")
        assert cursor.fetchone() == (1,)
    assert dialect.query("select amount from public.sales") == [1]
    assert engine.last_event("x", lease.owner_id) == "granted", "being guarded is no event of the lease itself"


def test_a_renewal_passes_beside_an_open_guard_and_is_seen_at_its_end(dialect: Dialect, engine: LeaseEngine) -> None:
    lease = engine.try_acquire("x", ttl=60)
    with engine.fenced(lease) as cursor:
        cursor.execute("insert into public.sales values (1)")
        renewed = dialect.engine().renew(lease, ttl=600)
        assert renewed.remaining > 599
    assert dialect.query("select amount from public.sales") == [1]


@pytest.mark.parametrize("how", ENDINGS)
def test_a_guarded_write_is_refused_after_the_end_of_the_lease(dialect: Dialect, engine: LeaseEngine, how: str) -> None:
    lease = engine.try_acquire("x")
    _end(dialect, lease, how)
    with pytest.raises(LeaseLost, match=f"token {lease.token}") as caught:
        with engine.fenced(lease):
            pytest.fail("the guard let it in")
    assert caught.value.lock_name == "x"


def test_a_guarded_write_is_refused_after_a_takeover(dialect: Dialect, engine: LeaseEngine) -> None:
    lease = engine.try_acquire("x", "late")
    dialect.expire(lease)
    successor = engine.try_acquire("x", "successor")
    with engine.fenced(successor) as cursor:
        cursor.execute("insert into public.sales values (2)")
    with pytest.raises(LeaseLost, match="granted anew"):
        with engine.fenced(lease) as cursor:
            cursor.execute("insert into public.sales values (1)")
    assert dialect.query("select amount from public.sales") == [2]


@pytest.mark.parametrize("how", ENDINGS)
def test_what_ends_inside_a_guarded_transaction_drains_and_its_commit_is_refused(
    dialect: Dialect, engine: LeaseEngine, how: str
) -> None:
    """Ending it does not wait, nothing is granted until the transaction has ended, and that one writes nothing."""
    other = dialect.engine()
    lease = engine.try_acquire("x", "late")
    with pytest.raises(LeaseLost, match="not held any more"):
        with engine.fenced(lease) as cursor:
            cursor.execute("insert into public.sales values (1)")
            _end(dialect, lease, how)
            for _ in range(2):
                busy = other.try_acquire("x", "successor")
                assert not busy
                assert [one.token for one in busy.leases] == [lease.token]
            assert busy.leases[0].state != "held"
            other.clean_up()
            ticket = other.enqueue("x", owner_id="waiter")
            assert not other.reserve(ticket.number)
            assert not other.confirm(ticket.number, "waiter")
            other.withdraw(ticket.number, "waiter")
            assert not other.try_acquire("x", "late"), "not even to the same owner"
    assert dialect.query("select amount from public.sales") == []
    successor = other.try_acquire("x", "successor")
    assert successor.token > lease.token


def test_an_error_inside_writes_nothing_and_keeps_the_lease(dialect: Dialect, engine: LeaseEngine) -> None:
    lease = engine.try_acquire("x")
    with pytest.raises(ZeroDivisionError):
        with engine.fenced(lease) as cursor:
            cursor.execute("insert into public.sales values (1)")
            raise ZeroDivisionError
    assert dialect.query("select amount from public.sales") == []
    assert engine.renew(lease)


def test_a_swallowed_sql_error_does_not_pass_for_a_commit(dialect: Dialect, engine: LeaseEngine) -> None:
    lease = engine.try_acquire("x")
    with pytest.raises(StoreError, match="aborted"):
        with engine.fenced(lease) as cursor:
            cursor.execute("insert into public.sales values (1)")
            with pytest.raises(Exception, match="zero"):
                cursor.execute("select 1/0")
    assert dialect.query("select amount from public.sales") == []


def test_several_guarded_transactions_of_one_lease_may_be_open(dialect: Dialect, engine: LeaseEngine) -> None:
    lease = engine.try_acquire("x")
    with engine.fenced(lease) as one, dialect.engine().fenced(lease) as two:
        one.execute("insert into public.sales values (1)")
        two.execute("insert into public.sales values (2)")
    assert sorted(dialect.query("select amount from public.sales")) == [1, 2]


def test_guards_of_different_leases_do_not_wait_for_each_other(engine: LeaseEngine, dialect: Dialect) -> None:
    one, two = (engine.try_acquire("x", units=1, capacity=2) for _ in range(2))
    with dialect.engine().fenced(two) as cursor:
        with pytest.raises(LeaseLost, match="it is released"):
            with engine.fenced(one):
                assert dialect.engine().release(one)
                assert not dialect.engine().try_acquire("x"), "one drains, the other is held"
        assert engine.try_acquire("x")
        cursor.execute("insert into public.sales values (2)")
    assert dialect.query("select amount from public.sales") == [2]


@pytest.mark.parametrize("params", [False, True], ids=["as text", "with parameters"])
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_guard_alone_in_autocommit_is_refused(dialect: Any, engine: LeaseEngine, driver: str, params: bool) -> None:
    lease = engine.try_acquire("x")
    module = pytest.importorskip(driver)
    connection = module.connect(dialect.dsn)
    connection.autocommit = True
    try:
        with pytest.raises(module.Error, match="stands alone in an implicit transaction, so it guards nothing"):
            if params:
                connection.cursor().execute("select lockprovider.guard(%s, %s)", ("x", lease.token))
            else:
                connection.cursor().execute(lease.guard)
        connection.autocommit = False
        connection.cursor().execute(lease.guard)
        connection.cursor().execute("insert into public.sales values (1)")
        connection.commit()
    finally:
        connection.close()
    assert dialect.query("select amount from public.sales") == [1]


def test_a_guard_inside_a_savepoint_is_refused(dialect: Any, engine: LeaseEngine) -> None:
    lease = engine.try_acquire("x")
    with engine.store.transaction() as connection:
        cursor = connection.cursor()
        cursor.execute("savepoint s")
        with pytest.raises(Exception, match="inside a savepoint"):
            cursor.execute(lease.guard)
        connection.rollback()


def test_revoke_with_terminate_ends_the_guarded_session(dialect: Dialect, engine: LeaseEngine) -> None:
    boss = dialect.engine()
    lease = engine.try_acquire("x")
    with pytest.raises(Exception, match=r"terminat|closed|lost"):
        with engine.fenced(lease) as cursor:
            cursor.execute("insert into public.sales values (1)")
            (revoked,) = boss.revoke("x", by="ann", reason="stuck", terminate=True)
            assert revoked.token == lease.token
            cursor.execute("insert into public.sales values (2)")
    assert dialect.query("select amount from public.sales") == []
    assert boss.try_acquire("x").token > lease.token


def test_terminate_ends_a_session_that_is_draining_already(dialect: Dialect, engine: LeaseEngine) -> None:
    boss = dialect.engine()
    lease, bystander = engine.try_acquire("x"), engine.try_acquire("y")
    with dialect.engine().fenced(bystander) as other:
        with pytest.raises(Exception, match=r"terminat|closed|lost"):
            with engine.fenced(lease) as cursor:
                boss.release(lease)
                assert boss.revoke("x", by="ann", reason="stuck", terminate=True) == []
                cursor.execute("select 1")
        other.execute("insert into public.sales values (1)")
    assert dialect.query("select amount from public.sales") == [1], "other locks' sessions go on"


def test_a_vanished_client_does_not_drain_for_hours(dialect: Dialect, engine: LeaseEngine) -> None:
    lease = engine.try_acquire("x", ttl=60)
    with engine.fenced(lease) as cursor:
        cursor.execute("show idle_in_transaction_session_timeout")
        assert cursor.fetchone() == ("30s",)
    short = engine.renew(lease, ttl=600)
    with engine.store.transaction() as connection:
        cursor = connection.cursor()
        cursor.execute("set local idle_in_transaction_session_timeout = '5s'")
        cursor.execute(short.guard)
        cursor.execute("show idle_in_transaction_session_timeout")
        assert cursor.fetchone() == ("5s",), "what is stricter stays"
