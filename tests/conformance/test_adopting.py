# ruff: noqa: PT012  (it is the end of a longer block that raises)
"""hold_at_least, adopt, revoking reservations, and what each waiter waits for."""

from __future__ import annotations

import time
from typing import Any

import pytest

from airflow_lockprovider.lease import ConfigurationError, LeaseEngine, LeaseLost, Lock
from tests.conformance.dialects import Dialect


def test_a_short_task_keeps_the_lock_at_least_as_long_as_it_said(dialect: Dialect, engine: LeaseEngine) -> None:
    """Two schedulers that fire a little apart must not both run it."""
    daily = Lock("x", hold_at_least=300)
    lease = engine.try_acquire(daily, "first scheduler")
    assert engine.release(lease)
    assert not engine.release(lease), "for its owner it is over"
    with pytest.raises(LeaseLost, match="it was released"):
        engine.renew(lease)
    with pytest.raises(LeaseLost, match="released"), engine.fenced(lease):
        pytest.fail("the guard let it in")
    assert engine.history("x", limit=1)[0].event == "released", "at once"
    busy = engine.try_acquire(daily, "second scheduler")
    assert not busy
    assert [(one.token, one.state) for one in busy.leases] == [(lease.token, "released")]
    assert engine.clean_up() == 0
    assert not engine.try_acquire(daily, "first scheduler"), "not to the same owner either"


def test_after_that_time_the_lock_is_free(dialect: Dialect, engine: LeaseEngine) -> None:
    lease = engine.try_acquire(Lock("x", hold_at_least=0.3))
    ticket = engine.enqueue("x", owner_id="next")
    engine.release(lease)
    assert [view.verdict for view in engine.poll("a process", [ticket.number])] == ["wait"]
    for _ in range(1000):
        if answer := engine.confirm(ticket.number, "next"):
            break
    assert answer.token > lease.token


def test_a_waiter_says_at_the_confirm_how_long_it_holds_at_least(engine: LeaseEngine) -> None:
    for turn in range(2):
        ticket = engine.enqueue(f"lock {turn}", owner_id="me")
        if turn:
            engine.reserve(ticket.number)
        lease = engine.confirm(ticket.number, "me", hold_at_least=300)
        engine.release(lease)
        assert not engine.try_acquire(f"lock {turn}")


def test_work_that_takes_longer_is_not_held_up_any_further(engine: LeaseEngine, dialect: Any) -> None:
    lease = engine.try_acquire(Lock("x", hold_at_least=1))
    time.sleep(2.1)  # a clock of whole seconds has moved on too
    assert engine.release(lease)
    assert engine.try_acquire("x")


def test_a_set_is_held_as_long_as_the_longest_of_its_locks_says(engine: LeaseEngine) -> None:
    engine.release(engine.try_acquire(["a", Lock("b", hold_at_least=300)]))
    assert not engine.try_acquire("a")


@pytest.mark.parametrize("state", ["held", "released", "expired"])
def test_a_person_can_end_it_earlier(dialect: Dialect, engine: LeaseEngine, state: str) -> None:
    """Also when its time is over and nobody has looked at the lock since."""
    lease = engine.try_acquire(Lock("x", hold_at_least=300))
    if state == "released":
        engine.release(lease)
    elif state == "expired":
        dialect.expire(lease)
    assert len(engine.revoke("x", by="ann", reason="let it run")) == (state == "held")
    assert engine.try_acquire("x")


def test_a_retry_adopts_the_lease_of_its_dead_try_with_a_new_token(engine: LeaseEngine) -> None:
    old = engine.try_acquire(Lock("x", units=2, capacity=3), "try 1", context={"try": 1})
    waiter = engine.enqueue("x", owner_id="waiter", units=2)
    new = engine.adopt("x", "try 2", "try 1", owner="dag/run#2", ttl=300, context={"try": 2})
    assert new.token > old.token
    assert (new.owner_id, new.owner, new.ttl, new.units, new.context) == ("try 2", "dag/run#2", 300, 2, {"try": 2})
    assert new.remaining > 290
    assert [lease.token for lease in engine.leases("x")] == [new.token], "the old one is dead at once"
    with pytest.raises(LeaseLost, match="adopted"):
        engine.renew(old)
    assert not engine.release(old)
    assert not engine.confirm(waiter.number, "waiter"), "it went before everybody in line"
    events = [(event.event, event.token) for event in engine.history("x")]
    assert events[:2] == [("granted", new.token), ("adopted", old.token)]


def test_adopting_twice_gives_the_same_lease(dialect: Dialect, engine: LeaseEngine) -> None:
    engine.try_acquire("x", "try 1")
    first = engine.adopt("x", "try 2", "try 1", ttl=60)
    again = dialect.engine().adopt("x", "try 2", "try 1", ttl=600)
    assert (again.token, again.expires_at) == (first.token, first.expires_at)


@pytest.mark.parametrize("how", ["nothing", "released", "expired", "revoked", "reserved", "somebody else's"])
def test_only_a_living_lease_of_the_earlier_try_is_adopted(dialect: Dialect, engine: LeaseEngine, how: str) -> None:
    if how == "reserved":
        engine.reserve(engine.enqueue("x", owner_id="try 1").number)
    elif how != "nothing":
        lease = engine.try_acquire("x", "somebody" if how == "somebody else's" else "try 1")
        match how:
            case "released":
                engine.release(lease)
            case "expired":
                dialect.expire(lease)
            case "revoked":
                engine.revoke("x", by="ann", reason="stuck")
    before = engine.leases("x")
    engine.set_capacity("x", 1)
    assert engine.adopt("x", "try 2", "try 1") is None
    assert [one.token for one in engine.leases("x")] == [one.token for one in before]


def test_an_attempt_does_not_adopt_itself(engine: LeaseEngine) -> None:
    engine.try_acquire("x", "me")
    with pytest.raises(ConfigurationError, match="must name the earlier attempt"):
        engine.adopt("x", "me", "me")


def test_a_paused_lock_is_not_adopted_and_the_old_lease_stays(engine: LeaseEngine) -> None:
    old = engine.try_acquire("x", "try 1")
    engine.pause("x", by="ann", reason="repairs")
    busy = engine.adopt("x", "try 2", "try 1")
    assert not busy
    assert busy.paused
    assert engine.renew(old)


def test_what_drains_is_adopted_as_soon_as_the_old_transaction_has_ended(dialect: Dialect, engine: LeaseEngine) -> None:
    other = dialect.engine()
    old = engine.try_acquire("x", "try 1")
    waiter = engine.enqueue("x", owner_id="waiter")
    with pytest.raises(LeaseLost), engine.fenced(old):
        for _ in range(2):
            busy = other.adopt("x", "try 2", "try 1")
            assert not busy
            assert busy is not None
    assert not other.confirm(waiter.number, "waiter"), "it is kept for the new try"
    assert other.clean_up() == 0
    assert other.adopt("x", "try 2", "try 1").token > old.token


def test_a_set_is_adopted_as_a_whole_or_not_at_all(engine: LeaseEngine) -> None:
    both = engine.try_acquire([Lock("a", shared=True), "b"], "try 1")
    engine.set_capacity("c", 1)
    assert engine.adopt(["a", "b", "c"], "try 2", "try 1") is None
    assert engine.renew(both)
    new = engine.adopt(["b", "a"], "try 2", "try 1")
    assert all(new[name].token > both[name].token for name in both)
    assert [lease.shared for lease in new.leases] == [True, False]


def test_revoking_a_reservation_takes_its_place_in_line_too(engine: LeaseEngine) -> None:
    """Else it would be reserved for the same request again, at once."""
    ticket = engine.enqueue("x", owner_id="unwanted")
    reserved = engine.reserve(ticket.number)
    (revoked,) = engine.revoke("x", by="ann", reason="not tonight")
    assert revoked.token == reserved.token
    assert engine.queue("x") == []
    assert engine.confirm(ticket.number, "unwanted") is None
    assert engine.reserve(ticket.number) is None
    assert engine.try_acquire("x", "next")


def test_revoking_one_reservation_of_a_set_ends_all_of_it(engine: LeaseEngine) -> None:
    ticket = engine.enqueue(["a", "b"], owner_id="set")
    engine.reserve(ticket.number)
    assert engine.revoke("b", by="ann", reason="not tonight")
    assert engine.leases() == engine.queue() == []
    assert engine.confirm(ticket.number, "set", several=True) is None
    assert engine.try_acquire("a")


def test_revoking_a_lease_leaves_the_line_alone(engine: LeaseEngine) -> None:
    engine.try_acquire("x")
    ticket = engine.enqueue("x", owner_id="waiter")
    engine.revoke("x", by="ann", reason="stuck")
    assert engine.confirm(ticket.number, "waiter")


def test_the_queue_says_what_keeps_each_request_waiting(engine: LeaseEngine) -> None:
    held = engine.try_acquire("x", owner="the holder")
    first, second = (engine.enqueue("x", owner_id=name, owner=name) for name in ("first", "second"))
    one, two = engine.queue("x")
    assert [(why.kind, why.token) for why in one.blocked_by] == [("lease", held.token)]
    assert "the holder" in str(one.blocked_by[0])
    assert [(why.kind, why.ticket) for why in two.blocked_by] == [("lease", None), ("request", first.number)]
    engine.pause("x", by="ann", reason="repairs")
    engine.release(held)
    assert [why.kind for why in engine.queue("x")[0].blocked_by] == ["pause"]
    assert "ann: repairs" in engine.queue("x")[0].blocked_by[0].what
    engine.resume("x", by="ann")
    free, behind = engine.queue("x")
    assert free.blocked_by == ()
    assert [why.kind for why in behind.blocked_by] == ["request"]
    assert [waiter.blocked_by for waiter in engine.queue("x", owner_id="second")] == [behind.blocked_by]
    assert second.number == behind.ticket


def test_readers_and_units_are_told_only_what_is_really_in_their_way(engine: LeaseEngine) -> None:
    engine.set_capacity("x", 3)
    reader = engine.try_acquire("x", shared=True)
    engine.enqueue("x", owner_id="writer", owner="writer")
    engine.enqueue("x", owner_id="reader", shared=True)
    writer, late = engine.queue("x")
    assert [why.token for why in writer.blocked_by] == [reader.token]
    assert [why.kind for why in late.blocked_by] == ["request"], "two readers do not stand in each other's way"
    engine.set_capacity("y", 3)
    engine.try_acquire("y", units=2)
    engine.enqueue("y", owner_id="small", units=1)
    engine.enqueue("y", owner_id="big", units=3)
    engine.set_capacity("y", 2)
    small, big = engine.queue("y")
    assert [why.kind for why in small.blocked_by] == ["lease"]
    assert [why.kind for why in big.blocked_by] == ["capacity", "lease", "request"]


def test_a_dead_request_stands_in_nobodys_way(dialect: Dialect, engine: LeaseEngine) -> None:
    dead = engine.enqueue("x", owner_id="dead")
    engine.enqueue("x", owner_id="living")
    dialect.age_waiter(dead, 60)
    assert engine.queue("x")[1].blocked_by == ()
