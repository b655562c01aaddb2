# ruff: noqa: PT012  (it is the end of a longer block that raises)
"""Tests that the mutation test asked for: each holds a condition that no other test of the contract missed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg
import pytest

from airflow_lockprovider.lease import LeaseEngine, LeaseLost, Lock
from tests.conformance.dialects import Dialect


def _told(engine: LeaseEngine, *what: str) -> list[tuple[str, int | None]]:
    return [(one.event, one.token) for one in reversed(engine.history("x", limit=1000)) if one.event in what]


def _verdicts(engine: LeaseEngine, *tickets: Any) -> list[tuple[str, int]]:
    views = {view.number: (view.verdict, view.position) for view in engine.poll("p", [one.number for one in tickets])}
    return [views[one.number] for one in tickets]


# Whose lease it is


def test_a_release_needs_the_token_of_the_lease(engine: LeaseEngine) -> None:
    lease = engine.try_acquire("x", "me")
    assert not engine.release(replace(lease, token=lease.token - 1))
    assert not engine.release(replace(lease, token=lease.token + 1))
    assert [one.token for one in engine.leases("x")] == [lease.token]


def test_a_release_gives_one_lease_back_and_not_all_of_its_owner(engine: LeaseEngine) -> None:
    """Also not those on other locks."""
    mine, other = engine.try_acquire("x", "me"), engine.try_acquire("y", "me")
    assert engine.release(mine)
    assert [one.token for one in engine.leases()] == [other.token]


def test_a_renewal_prolongs_one_lease_and_no_other(engine: LeaseEngine) -> None:
    engine.set_capacity("x", 2)
    mine, other = engine.try_acquire("x", "me", ttl=60), engine.try_acquire("x", "other", ttl=60)
    engine.renew(mine, ttl=600)
    ((_, _, untouched),) = [(o.lock_name, o.token, o.expires_at) for o in engine.leases("x") if o.token == other.token]
    assert untouched == other.expires_at
    before = engine.leases("x")
    assert engine.renew_many([replace(mine, token=mine.token + 999, ttl=6000)])[0].outcome == "lost"
    assert [one.expires_at for one in engine.leases("x")] == [one.expires_at for one in before]


def test_asking_again_does_not_give_the_lease_of_another_owner_or_of_another_lock(engine: LeaseEngine) -> None:
    engine.set_capacity("x", 3)
    mine = engine.try_acquire("x", "me")
    other = engine.try_acquire("x", "other")
    assert other.token != mine.token
    assert engine.try_acquire("y", "me").lock_name == "y"
    assert engine.try_acquire("x", "me").token == mine.token
    assert engine.try_acquire("x", "other").token == other.token


def test_the_expiry_of_one_lease_ends_no_other(dialect: Dialect, engine: LeaseEngine) -> None:
    engine.set_capacity("x", 2)
    late, living = engine.try_acquire("x", "late"), engine.try_acquire("x", "living")
    elsewhere = engine.try_acquire("y", "elsewhere")
    dialect.expire(late)
    next_one = engine.try_acquire("x", "next")
    assert {one.token for one in engine.leases()} == {living.token, next_one.token, elsewhere.token}
    assert _told(engine, "expired") == [("expired", late.token)]


def test_revoking_one_token_leaves_the_others_and_tells_of_no_other(engine: LeaseEngine) -> None:
    engine.set_capacity("x", 3)
    leases = [engine.try_acquire("x") for _ in range(3)]
    assert [one.token for one in engine.revoke("x", "ann", "test", token=leases[1].token)] == [leases[1].token]
    assert [one.token for one in engine.leases("x")] == [leases[0].token, leases[2].token]


def test_in_a_batch_no_lease_is_renewed_by_the_renewal_of_another_on_its_lock(engine: LeaseEngine) -> None:
    engine.set_capacity("x", 2)
    gone, living = engine.try_acquire("x", "gone"), engine.try_acquire("x", "living")
    engine.release(gone)
    assert [one.outcome for one in engine.renew_many([gone, living])] == ["lost", "renewed"]


def test_a_reservation_that_is_revoked_with_its_set_takes_nobody_elses_lease_along(engine: LeaseEngine) -> None:
    engine.set_capacity("y", 2)
    other = engine.try_acquire("y", "other")
    ticket = engine.enqueue(["x", "y"], owner_id="set")
    assert engine.reserve(ticket.number)
    assert len(engine.revoke("x", "ann", "test")) == 2
    assert [one.token for one in engine.leases()] == [other.token]


def test_a_lost_lease_says_how_it_ended_itself_and_not_how_another_did(engine: LeaseEngine) -> None:
    lost = engine.try_acquire("x", "lost")
    engine.revoke("x", "ann", "stuck")
    engine.release(engine.try_acquire("x", "next"))
    assert engine.renew_many([lost])[0].reason.startswith("it was revoked by ann: stuck")


def test_a_confirm_whose_answer_got_lost_is_for_its_owner_and_ticket_alone(engine: LeaseEngine) -> None:
    engine.set_capacity("x", 2)
    mine, other = (engine.enqueue("x", owner_id=name) for name in ("me", "other"))
    leases = [engine.confirm(mine.number, "me"), engine.confirm(other.number, "other")]
    assert engine.confirm(mine.number, "me").token == leases[0].token
    assert engine.confirm(other.number, "other").token == leases[1].token
    assert engine.confirm(mine.number, "other") is None
    assert engine.confirm(mine.number + 4711, "me") is None


def test_a_token_is_never_below_the_clock_so_it_grows_over_a_restored_backup_too(engine: LeaseEngine) -> None:
    first, second = (engine.try_acquire("x", name, capacity=2) for name in ("first", "second"))
    assert first.token >= int(first.created_at.timestamp()) * 1000
    assert first.token < second.token < first.token + 60_000


def test_a_clock_that_was_set_back_makes_no_token_smaller(dialect: Dialect, engine: LeaseEngine) -> None:
    first = engine.try_acquire("x")
    engine.release(first)
    ahead = first.token + 10**9
    dialect.query(f"update lockprovider.lock set last_token = {ahead}")
    assert engine.try_acquire("x").token > ahead


# What is over


def test_a_lease_that_drains_is_over_for_every_verb(dialect: Dialect, engine: LeaseEngine) -> None:
    """Released, with its guarded transaction still open: it counts, and that is all it does."""
    lease = engine.try_acquire("x", "me")
    others = dialect.engine()
    with pytest.raises(LeaseLost):
        with engine.fenced(lease):
            assert others.release(lease)
            assert not others.release(lease)
            assert others.renew_many([lease])[0].outcome == "lost"
            assert others.revoke("x", "ann", "test") == []
            assert others.leases("x") == []
            again = others.try_acquire("x", "me")
            assert not again, "the same owner does not get it either"
            dialect.expire(lease)
            assert not others.try_acquire("x", "next")
            others.clean_up()
    assert _told(others, "released", "revoked", "expired") == [("released", lease.token)], "and it ended once"
    assert others.try_acquire("x", "next").token > lease.token


def test_what_has_expired_cannot_be_revoked(dialect: Dialect, engine: LeaseEngine) -> None:
    lease = engine.try_acquire("x")
    dialect.expire(lease)
    assert engine.revoke("x", "ann", "test") == []
    assert _told(engine, "revoked") == []


def test_revoking_does_not_wait_for_the_row_of_a_lease_that_has_expired(dialect: Any, engine: LeaseEngine) -> None:
    lease = engine.try_acquire("x")
    dialect.expire(lease)
    with psycopg.connect(dialect.dsn) as somebody:
        somebody.execute("select from lockprovider.lease for no key update")
        assert engine.revoke("x", "ann", "test") == []


def test_a_confirm_after_its_lease_is_over_gives_nothing(dialect: Dialect, engine: LeaseEngine) -> None:
    for over in (engine.release, dialect.expire):
        ticket = engine.enqueue("x", owner_id="me")
        over(engine.confirm(ticket.number, "me"))  # type: ignore[arg-type]
        assert engine.confirm(ticket.number, "me") is None


def test_an_expired_lease_is_not_given_again_to_who_holds_half_of_what_it_asks_for(
    dialect: Dialect, engine: LeaseEngine
) -> None:
    engine.set_capacity("x", 2)
    first = engine.try_acquire("x", "me")
    assert engine.try_acquire("x", "other")
    dialect.expire(first)
    assert engine.try_acquire("x", "me").token > first.token


# The line


def test_a_poll_counts_neither_the_dead_nor_what_can_never_be_granted(dialect: Dialect, engine: LeaseEngine) -> None:
    engine.set_capacity("x", 3)
    _big, dead = (engine.enqueue("x", owner_id=name, units=units) for name, units in (("big", 3), ("dead", 1)))
    last = engine.enqueue("x", owner_id="last")
    assert _verdicts(engine, last) == [("wait", 2)]
    engine.set_capacity("x", 2)
    dialect.age_waiter(dead, engine.settings.skip_after + 1)
    assert _verdicts(engine, last) == [("try", 0)]


def test_a_poll_counts_only_writers_before_a_reader_and_only_living_ones(dialect: Dialect, engine: LeaseEngine) -> None:
    reader, writer = engine.enqueue("x", owner_id="r", shared=True), engine.enqueue("x", owner_id="w")
    last = engine.enqueue("x", owner_id="last", shared=True)
    assert _verdicts(engine, reader, writer, last) == [("try", 0), ("wait", 1), ("wait", 1)]
    dialect.age_waiter(writer, engine.settings.skip_after + 1)
    assert _verdicts(engine, last) == [("try", 0)]


def test_a_poll_counts_who_is_back_in_line_after_its_reservation_lapsed(dialect: Dialect, engine: LeaseEngine) -> None:
    first, second = (engine.enqueue("x", owner_id=name) for name in ("first", "second"))
    reserved = engine.reserve(first.number)
    assert _verdicts(engine, second) == [("wait", 0)]
    dialect.expire(reserved)
    assert _verdicts(engine, second) == [("wait", 1)]


def test_a_poll_sees_that_the_holders_time_is_over(dialect: Dialect, engine: LeaseEngine) -> None:
    """Nobody has swept the lock since: whether the lease can go, a try finds out."""
    lease = engine.try_acquire("x")
    waiter = engine.enqueue("x", owner_id="waiter")
    assert _verdicts(engine, waiter) == [("wait", 0)]
    dialect.expire(lease)
    assert _verdicts(engine, waiter) == [("try", 0)]


def test_a_request_that_can_never_be_granted_keeps_no_newcomer_and_no_waiter_out(engine: LeaseEngine) -> None:
    engine.set_capacity("x", 3)
    engine.enqueue("x", owner_id="big", units=3)
    small = engine.enqueue("x", owner_id="small")
    engine.set_capacity("x", 2)
    assert engine.confirm(small.number, "small")
    assert engine.try_acquire("x", "newcomer")


def test_a_reader_in_line_keeps_a_writer_out_but_no_reader(engine: LeaseEngine) -> None:
    engine.enqueue("x", owner_id="reader", shared=True)
    busy = engine.try_acquire("x", "writer")
    assert (bool(busy), busy.position) == (False, 1)
    assert engine.try_acquire("x", "other reader", shared=True)


def test_a_reader_in_line_is_not_behind_another_reader_also_of_higher_priority(engine: LeaseEngine) -> None:
    engine.enqueue("x", owner_id="high", shared=True, priority=1)
    engine.enqueue("x", owner_id="older", shared=True)
    last = engine.enqueue("x", owner_id="last", shared=True)
    assert engine.confirm(last.number, "last")


def test_a_reader_inside_keeps_a_writer_out_though_there_is_room(engine: LeaseEngine) -> None:
    engine.set_capacity("x", 3)
    assert engine.try_acquire("x", "reader", shared=True)
    assert not engine.try_acquire("x", "writer")


def test_a_poll_says_try_when_the_holder_only_drains(dialect: Dialect, engine: LeaseEngine) -> None:
    """A plain look leaves out what is over: whether its guarded transaction has ended, a try finds out."""
    lease = engine.try_acquire("x", "me")
    others = dialect.engine()
    waiter = others.enqueue("x", owner_id="waiter")
    with pytest.raises(LeaseLost):
        with engine.fenced(lease):
            assert others.release(lease)
            assert _verdicts(others, waiter) == [("try", 0)]
            assert not others.reserve(waiter.number)
    assert others.reserve(waiter.number)


def test_the_place_of_a_busy_answer_counts_who_is_really_before(engine: LeaseEngine) -> None:
    engine.try_acquire("x", "holder")
    for name, shared in (("w", False), ("r1", True), ("r2", True)):
        engine.enqueue("x", owner_id=name, shared=shared)
    assert engine.try_acquire("x", "another reader", shared=True).position == 1
    assert engine.try_acquire("x", "another writer").position == 3


def test_priority_goes_before_the_ticket_for_newcomers_in_line_too(engine: LeaseEngine) -> None:
    low = engine.enqueue("x", owner_id="low", priority=0)
    high = engine.enqueue("x", owner_id="high", priority=1)
    assert _verdicts(engine, low, high) == [("wait", 1), ("try", 0)]
    assert not engine.confirm(low.number, "low")
    assert engine.confirm(high.number, "high")


def test_one_line_has_nothing_to_do_with_another(engine: LeaseEngine) -> None:
    engine.enqueue("y", owner_id="in another line")
    engine.try_acquire("z", "holder of another lock")
    engine.pause("z", "ann", "test")
    assert engine.try_acquire("x", "me")
    mine = engine.enqueue("y", owner_id="me")
    assert _verdicts(engine, mine) == [("wait", 1)]
    assert [one.owner_id for one in engine.queue("y")] == ["in another line", "me"]


# Cleaning up


def test_clean_up_touches_nothing_that_lives(dialect: Dialect, engine: LeaseEngine) -> None:
    engine.set_capacity("x", 2)
    late, living = engine.try_acquire("x", "late"), engine.try_acquire("x", "living")
    elsewhere = engine.try_acquire("y", "elsewhere")
    ticket = engine.enqueue("y", owner_id="waiter")
    engine.poll("p", [ticket.number])
    dialect.expire(late)
    assert engine.clean_up() == 1
    assert engine.clean_up() == 0
    assert {one.token for one in engine.leases()} == {living.token, elsewhere.token}
    assert engine.queue("y")[0].alive, "its process is still known"


# What is held at least as long


def test_a_lease_that_is_held_at_least_keeps_others_out_after_its_release(engine: LeaseEngine) -> None:
    lease = engine.try_acquire(Lock("x", hold_at_least=300), "me")
    assert engine.release(lease)
    assert not engine.try_acquire("x", "next")
    assert engine.renew_many([lease])[0].outcome == "lost"
    waiter = engine.enqueue("x", owner_id="waiter")
    assert _verdicts(engine, waiter) == [("wait", 0)]
    assert _told(engine, "released") == [("released", lease.token)]


def test_a_person_ends_it_for_the_named_token_alone(engine: LeaseEngine) -> None:
    engine.set_capacity("x", 2)
    one, other = (engine.try_acquire(Lock("x", hold_at_least=300), name) for name in ("one", "other"))
    elsewhere = engine.try_acquire(Lock("y", hold_at_least=300))
    for lease in (one, other, elsewhere):
        engine.release(lease)
    engine.revoke("x", "ann", "test", token=one.token)
    assert engine.try_acquire("x")
    assert not engine.try_acquire("x")
    assert not engine.try_acquire("y")


# Guarded sessions


def test_terminate_ends_the_sessions_of_the_named_token_alone(dialect: Dialect, engine: LeaseEngine) -> None:
    engine.set_capacity("x", 2)
    one, other = engine.try_acquire("x", "one"), engine.try_acquire("x", "other")
    with dialect.engine().fenced(other) as goes_on:
        with pytest.raises(Exception, match=r"terminat|closed|lost"):
            with engine.fenced(one) as cursor:
                dialect.engine().revoke("x", "ann", "test", token=one.token, terminate=True)
                cursor.execute("select 1")
        goes_on.execute("select 1")


def test_the_idle_timeout_of_a_guard_is_half_the_ttl_of_its_own_lease(dialect: Any, engine: LeaseEngine) -> None:
    engine.set_capacity("x", 2)
    for lease in [engine.try_acquire("x", f"owner {ttl}", ttl=ttl) for ttl in (60, 600)]:
        with engine.fenced(lease) as cursor:
            cursor.execute("select setting from pg_settings where name = 'idle_in_transaction_session_timeout'")
            assert cursor.fetchone() == (str(round(lease.ttl * 500)),)


# Work that is done once


def test_nobody_says_for_somebody_else_that_it_is_done(engine: LeaseEngine) -> None:
    lease = engine.try_acquire("x", "me")
    with pytest.raises(LeaseLost):
        engine.mark_done(replace(lease, owner_id="somebody else"), "k")
    assert engine.done("x", "k") is None


def test_what_is_done_is_recorded_under_the_lease_that_did_it(engine: LeaseEngine) -> None:
    """Not under one that its owner has given back, and that is only kept."""
    earlier = engine.try_acquire(Lock("x", units=1, capacity=3, hold_at_least=300), "me")
    engine.release(earlier)
    lease = engine.try_acquire("x", "me", units=2)
    assert engine.mark_done(lease, "k").token == lease.token


# Adopting


def test_an_attempt_adopts_nothing_that_it_has_given_back_itself(dialect: Dialect, engine: LeaseEngine) -> None:
    engine.try_acquire("x", "try 1")
    mine = engine.adopt("x", "try 2", "try 1")
    others = dialect.engine()
    with pytest.raises(LeaseLost):
        with engine.fenced(mine):
            others.release(mine)
            assert others.adopt("x", "try 2", "try 1") is None
    assert others.adopt("x", "try 2", "try 1") is None


def test_of_several_leases_that_of_the_earlier_try_is_adopted(engine: LeaseEngine) -> None:
    engine.set_capacity("x", 3)
    others = [engine.try_acquire("x", name) for name in ("somebody", "try 1", "somebody else")]
    elsewhere = engine.try_acquire("y", "try 1")
    new = engine.adopt("x", "try 2", "try 1")
    assert {one.token for one in engine.leases()} == {others[0].token, others[2].token, elsewhere.token, new.token}
    assert _told(engine, "adopted") == [("adopted", others[1].token)]
    assert engine.adopt("x", "try 2", "try 1").token == new.token
    assert engine.adopt("x", "try 3", "try 1") is None


def test_adopting_leaves_alone_what_is_kept_of_others(engine: LeaseEngine) -> None:
    kept = engine.try_acquire(Lock("x", capacity=2, hold_at_least=300), "other")
    engine.try_acquire("x", "try 1")
    engine.release(kept)
    assert engine.adopt("x", "try 2", "try 1")
    assert not engine.try_acquire("x", "next")


def test_what_drains_for_one_attempt_is_not_adopted_by_another(dialect: Any, engine: LeaseEngine) -> None:
    old, others = engine.try_acquire("x", "try 1"), dialect.engine()
    with pytest.raises(LeaseLost), engine.fenced(old):
        assert not others.adopt("x", "try 2", "try 1")
        assert others.adopt("x", "try 3", "try 1") is None
    assert others.adopt("x", "try 2", "try 1")


@pytest.mark.parametrize("whose", ["try 1", "try 2"])
def test_what_has_expired_is_not_adopted_while_its_row_is_locked(dialect: Any, engine: LeaseEngine, whose: str) -> None:
    dialect.expire(engine.try_acquire("x", whose))
    with psycopg.connect(dialect.dsn) as somebody:
        somebody.execute("select from lockprovider.lease for no key update")
        assert engine.adopt("x", "try 2", "try 1") is None
