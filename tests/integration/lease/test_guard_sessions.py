"""The guard in sessions of people's own: isolation levels, idle clients, plain SQL. Always two real connections."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from airflow_lockprovider.lease import Lease, LeaseEngine, connect

Session = Callable[[psycopg.IsolationLevel], Any]
SNAPSHOTS = [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE]


@pytest.fixture
def session(database: str, engine: LeaseEngine, admin: Any) -> Iterator[Session]:
    """A user's own session, with autocommit off."""
    admin.execute("create table public.sales (amount int)")
    opened = []

    def make(level: psycopg.IsolationLevel) -> Any:
        connection = psycopg.connect(database)
        connection.isolation_level = level
        opened.append(connection)
        return connection

    yield make
    for connection in opened:
        connection.close()


@pytest.fixture
def other(database: str) -> Iterator[LeaseEngine]:
    """Another process, as far as the database can see."""
    engine = connect(database)
    yield engine
    engine.close()


def _still_held(session: Any, lease: Lease) -> None:
    session.execute("select lockprovider.still_held(%s, %s)", (lease.lock_name, lease.token))


def _sales(admin: Any) -> list[int]:
    return [row[0] for row in admin.execute("select amount from public.sales").fetchall()]


@pytest.mark.parametrize("level", SNAPSHOTS)
def test_a_renewal_is_no_loss_for_a_transaction_that_cannot_see_it(
    session: Session, engine: LeaseEngine, other: LeaseEngine, admin: Any, level: psycopg.IsolationLevel
) -> None:
    lease = engine.try_acquire("x", ttl=60)
    admin.execute("update lockprovider.lease set expires_at = clock_timestamp() + interval '0.5 s'")
    mine = session(level)
    mine.execute(lease.guard)
    mine.execute("insert into public.sales values (1)")
    assert other.renew(lease, ttl=600).remaining > 590, "it passes beside the guard"
    time.sleep(0.6)  # the old time is over, on the server's clock
    _still_held(mine, lease)
    mine.commit()
    assert _sales(admin) == [1]


@pytest.mark.parametrize("how", ["release", "revoke", "expiry"])
@pytest.mark.parametrize("level", SNAPSHOTS)
def test_while_such_a_transaction_is_open_nothing_is_granted(
    session: Session, engine: LeaseEngine, other: LeaseEngine, admin: Any, level: psycopg.IsolationLevel, how: str
) -> None:
    lease = engine.try_acquire("x", "me")
    mine = session(level)
    mine.execute(lease.guard)
    mine.execute("insert into public.sales values (1)")
    match how:
        case "release":
            assert other.release(lease)
        case "revoke":
            assert other.revoke("x", by="ann", reason="stuck")
        case "expiry":
            admin.execute("update lockprovider.lease set expires_at = clock_timestamp()")
            assert other.clean_up() == 0
    for owner in ("me", "somebody else"):
        assert not other.try_acquire("x", owner)
    mine.commit()
    successor = other.try_acquire("x")
    assert successor.token > lease.token
    assert _sales(admin) == [1], "it was written while the lock was granted to nobody else"


@pytest.mark.parametrize("level", SNAPSHOTS)
@pytest.mark.parametrize("how", ["acquired after it", "taken over after it"])
def test_a_snapshot_that_is_older_than_the_lease_is_refused(
    session: Session, engine: LeaseEngine, other: LeaseEngine, admin: Any, level: psycopg.IsolationLevel, how: str
) -> None:
    """It would not see what the owner before has written."""
    lease = engine.try_acquire("x", "late")
    mine = session(level)
    mine.execute("select count(*) from public.sales")
    if how == "acquired after it":
        engine.release(lease)
        lease = engine.try_acquire("x", "me")
    else:
        admin.execute("update lockprovider.lease set expires_at = clock_timestamp()")
        assert other.try_acquire("x", "successor")
    with pytest.raises(psycopg.Error, match=r"is gone|could not serialize"):
        mine.execute(lease.guard)
    mine.rollback()
    assert _sales(admin) == []


@pytest.mark.parametrize("level", SNAPSHOTS)
def test_verbs_refuse_a_transaction_that_would_decide_on_old_facts(
    session: Session, engine: LeaseEngine, level: psycopg.IsolationLevel
) -> None:
    mine = session(level)
    with pytest.raises(psycopg.Error, match=f"locks need READ COMMITTED, this transaction is {level.name[:6]}"):
        mine.execute("select * from lockprovider.try_acquire('{x}', 'me')")


def test_a_database_whose_default_is_repeatable_read_can_be_fenced(
    database: str, engine: LeaseEngine, admin: Any
) -> None:
    admin.execute("create table public.sales (amount int)")
    lease = engine.try_acquire("x")  # on a connection from before
    change = "do $$ begin execute format('alter role %I in database %I {}', current_user, current_database()); end $$"
    admin.execute(change.format("set default_transaction_isolation = ''serializable''"))
    strict = connect(database)
    try:
        with strict.fenced(lease) as cursor:
            cursor.execute("show transaction_isolation")
            assert cursor.fetchone() == ("serializable",)
            cursor.execute("insert into public.sales values (1)")
            assert engine.renew(lease)
    finally:
        strict.close()
        admin.execute(change.format("reset default_transaction_isolation"))
    assert _sales(admin) == [1]


def test_a_client_that_falls_silent_inside_a_guard_is_ended_after_half_the_ttl(
    session: Session, engine: LeaseEngine, other: LeaseEngine, admin: Any
) -> None:
    lease = engine.try_acquire("x", ttl=1)
    mine = session(psycopg.IsolationLevel.READ_COMMITTED)
    mine.execute(lease.guard)
    mine.execute("insert into public.sales values (1)")
    other.release(lease)
    assert not other.try_acquire("x"), "it drains"
    for _ in range(100):
        if successor := other.try_acquire("x"):
            break
        time.sleep(0.05)  # the server counts the silence
    assert successor
    with pytest.raises(psycopg.Error, match=r"idle-in-transaction|lost|closed"):
        mine.commit()
    assert _sales(admin) == []


@pytest.mark.parametrize("level", [psycopg.IsolationLevel.READ_COMMITTED, *SNAPSHOTS])
def test_a_rollback_ends_the_guard(
    session: Session, engine: LeaseEngine, other: LeaseEngine, admin: Any, level: psycopg.IsolationLevel
) -> None:
    lease = engine.try_acquire("x")
    mine = session(level)
    mine.execute(lease.guard)
    mine.execute("insert into public.sales values (1)")
    other.release(lease)
    mine.rollback()
    assert other.try_acquire("x")
    assert _sales(admin) == []


def test_a_dbt_like_hook_guards_the_model_in_its_own_transaction(
    session: Session, engine: LeaseEngine, other: LeaseEngine, admin: Any
) -> None:
    """dbt sends BEGIN, the pre-hook, the model and COMMIT as statements of their own, and nothing with parameters."""
    lease = engine.try_acquire("dwh.sales")
    mine = session(psycopg.IsolationLevel.READ_COMMITTED)
    mine.autocommit = True
    for statement in ("begin", lease.guard, "create table public.model as select 1 as one", "commit"):
        mine.execute(statement)
    other.revoke("dwh.sales", by="ann", reason="stuck")
    mine.execute("begin")
    with pytest.raises(psycopg.Error, match="is gone"):
        mine.execute(lease.guard)
    mine.execute("rollback")
    assert admin.execute("select one from public.model").fetchall() == [(1,)]
