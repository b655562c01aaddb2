"""Rows that somebody else has locked at this moment: they count, and nobody waits for them for ever."""

from __future__ import annotations

import time
from typing import Any

import psycopg

from airflow_lockprovider.lease import LeaseEngine

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
