"""Rows that somebody else has locked at this moment: they count, and nobody waits for them for ever."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest

from airflow_lockprovider.lease import LeaseEngine, StoreUnavailable

Sql = psycopg.Connection[Any]
LOCK_IT = "select 1 from lockprovider.lease where lock_name = 'x' for no key update"
EXPIRE_IT = "update lockprovider.lease set expires_at = clock_timestamp() - interval '1 s' where lock_name = 'x'"


def test_an_expired_lease_whose_row_is_locked_is_granted_to_nobody_also_not_to_its_owner(
    engine: LeaseEngine, admin: Sql
) -> None:
    engine.try_acquire("x", "me")
    admin.execute(EXPIRE_IT)
    with admin.transaction():
        admin.execute(LOCK_IT)
        assert not engine.try_acquire("x", "somebody")
        assert not engine.try_acquire("x", "me")
        assert engine.clean_up() == 0
    assert engine.try_acquire("x", "somebody")


def test_a_lapsed_reservation_whose_row_is_locked_is_not_given_again(engine: LeaseEngine, admin: Sql) -> None:
    ticket = engine.enqueue("x", owner_id="me")
    first = engine.reserve(ticket.number)
    admin.execute(EXPIRE_IT)
    with admin.transaction():
        admin.execute(LOCK_IT)
        assert not engine.reserve(ticket.number)
        assert not engine.confirm(ticket.number, "me")
    assert engine.confirm(ticket.number, "me").token > first.token


def test_a_renewal_of_a_locked_row_is_no_loss_and_does_not_wait(engine: LeaseEngine, admin: Sql) -> None:
    lease = engine.try_acquire("x", "me")
    engine._sleep = lambda seconds: None
    started = time.monotonic()
    with admin.transaction():
        admin.execute(LOCK_IT)
        assert [answer.outcome for answer in engine.renew_many([lease])] == ["skipped"]
        assert engine.renew(lease).expires_at == lease.expires_at, "still ours, only not longer"
    assert time.monotonic() - started < 5
    assert engine.renew(lease).expires_at > lease.expires_at


def test_clean_up_passes_over_a_lock_that_is_being_decided_about(engine: LeaseEngine, admin: Sql) -> None:
    engine.try_acquire("x", "me")
    engine.try_acquire("y", "me")
    admin.execute("update lockprovider.lease set expires_at = clock_timestamp() - interval '1 s'")
    with admin.transaction():
        admin.execute("select 1 from lockprovider.lock where lock_name = 'x' for update")
        assert engine.clean_up() == 1
    assert engine.clean_up() == 1


def test_a_poll_passes_over_a_ticket_that_is_being_decided_about(engine: LeaseEngine, admin: Sql) -> None:
    ticket = engine.enqueue("x", owner_id="me")
    with admin.transaction():
        admin.execute("select 1 from lockprovider.waiter for update")
        assert [view.verdict for view in engine.poll("a process", [ticket.number])] == ["try"]


def test_who_asks_for_a_lock_that_is_taken_does_not_wait_for_a_decision_about_it(
    engine: LeaseEngine, admin: Sql
) -> None:
    """Neither a newcomer nor who stands in line: both would otherwise stand in the way of the one whose turn it is."""
    holder = engine.try_acquire("x", "holder")
    ticket = engine.enqueue("x", owner_id="me")
    admin.execute("update lockprovider.waiter set seen_at = clock_timestamp() - interval '5 s'")
    with admin.transaction():
        admin.execute("set local lock_timeout = '2 s'")
        admin.execute("select 1 from lockprovider.lock where lock_name = 'x' for update")
        started = time.monotonic()
        newcomer, waiter = engine.try_acquire("x", "newcomer"), engine.confirm(ticket.number, "me")
        assert time.monotonic() - started < 5, "nobody waited for the row, which takes 10 s"
    assert [lease.owner_id for lease in newcomer.leases] == ["holder"]
    assert (newcomer.position, waiter.position) == (1, 0)
    seen = admin.execute("select clock_timestamp() - seen_at < interval '4 s' from lockprovider.waiter").fetchone()
    assert seen == (True,), "the look has shown that the waiter lives"
    engine.release(holder)
    assert engine.confirm(ticket.number, "me")


def test_who_asks_again_after_a_lost_answer_waits_for_what_the_first_call_still_decides(
    engine: LeaseEngine, admin: Sql, database: str
) -> None:
    """The first call may be granted the lock a moment after the second one was told that it is taken."""
    engine.try_acquire("x", "holder")
    with psycopg.connect(database) as other:
        other.execute("set lock_timeout = '200ms'")
        admin.execute("begin")
        admin.execute("select 1 from lockprovider.lock where lock_name = 'x' for update")
        look = "select outcome from lockprovider.try_acquire('{x}', 'me', again => %s)"
        assert other.execute(look, (False,)).fetchall() == [("busy",)]
        other.rollback()
        engine.limit_calls(0.5)
        with pytest.raises(StoreUnavailable):
            engine.store._call("try_acquire", _asking("me"), again=True)
        admin.execute("rollback")
    assert not engine.try_acquire("x", "me")


def _asking(owner_id: str) -> dict[str, Any]:
    lists = {"lock_names": ["x"], "units": None, "capacity": None, "shared": None}
    return lists | {"owner_id": owner_id, "owner": "", "ttl": 60, "context": "{}", "skip_after": 10, "hold_at_least": 0}
