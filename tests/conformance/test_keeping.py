"""Renewing, giving back, and taking away."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_lockprovider.lease import ConfigurationError, LeaseEngine, LeaseLost
from tests.conformance.dialects import Dialect


def test_renewing_prolongs_and_returns_a_new_value(engine: LeaseEngine) -> None:
    lease = engine.try_acquire("x", ttl=60)
    longer = engine.renew(lease, ttl=600)
    assert longer is not lease
    assert (longer.token, longer.ttl) == (lease.token, 600)
    assert longer.remaining > 599
    assert longer.trusted_until > lease.trusted_until + 500
    assert longer.expires_at > lease.expires_at
    assert engine.renew(longer).ttl == 600


def test_renewing_answers_each_lease_of_a_batch(dialect: Dialect, engine: LeaseEngine) -> None:
    assert engine.renew_many([]) == []
    good, late = engine.try_acquire("good", ttl=60), engine.try_acquire("late")
    dialect.expire(late)
    strange = replace(good, owner_id="somebody else")
    answers = engine.renew_many([late, good])
    assert [answer.outcome for answer in answers] == ["lost", "renewed"]
    assert answers[1].lease.ttl == 60
    assert engine.renew_many([strange])[0].outcome == "lost"


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("expiry", "it expired at"),
        ("release", "it was released"),
        ("revoke", "it was revoked by ann: stuck"),
        ("takeover", "it was expired; now held by the next"),
    ],
)
def test_renewing_what_is_gone_raises_with_the_reason(
    dialect: Dialect, engine: LeaseEngine, how: str, says: str
) -> None:
    lease = engine.try_acquire("x", "me")
    match how:
        case "expiry":
            dialect.expire(lease)
        case "release":
            engine.release(lease)
        case "revoke":
            engine.revoke("x", by="ann", reason="stuck")
        case _:
            dialect.expire(lease)
            assert engine.try_acquire("x", owner="the next")
    with pytest.raises(LeaseLost, match=says) as caught:
        engine.renew(lease)
    assert caught.value.lock_name == "x"
    assert f"token {lease.token}" in str(caught.value)


def test_an_expired_lease_is_not_revived_though_nobody_else_came(dialect: Dialect, engine: LeaseEngine) -> None:
    lease = engine.try_acquire("x", "me")
    dialect.expire(lease)
    with pytest.raises(LeaseLost):
        engine.renew(lease)
    assert engine.leases("x") == []
    assert not engine.release(lease)


def test_releasing_is_true_once_then_false(dialect: Dialect, engine: LeaseEngine) -> None:
    lease = engine.try_acquire("x")
    assert engine.release(lease)
    assert not engine.release(lease)
    assert not engine.release(replace(engine.try_acquire("x", "next"), owner_id="not the owner"))
    assert [one.owner_id for one in engine.leases("x")] == ["next"]


def test_a_late_release_does_not_touch_the_successor(dialect: Dialect, engine: LeaseEngine) -> None:
    late = engine.try_acquire("x", "late")
    dialect.expire(late)
    successor = engine.try_acquire("x", "successor")
    assert not engine.release(late)
    assert engine.renew(successor).token == successor.token


def test_revoking_takes_all_leases_or_one_and_is_recorded(engine: LeaseEngine) -> None:
    engine.set_capacity("x", 3)
    leases = [engine.try_acquire("x", f"owner {number}") for number in range(3)]
    (one,) = engine.revoke("x", by="ann", reason="just this", token=leases[1].token)
    assert (one.token, one.owner_id, one.state) == (leases[1].token, "owner 1", "revoked")
    assert {lease.token for lease in engine.revoke("x", by="bob", reason="all")} == {leases[0].token, leases[2].token}
    assert engine.leases("x") == []
    assert engine.revoke("x", by="bob", reason="again") == []
    events = [event for event in engine.history("x") if event.event == "revoked"]
    assert [(event.actor, event.reason) for event in reversed(events)] == [("ann", "just this")] + [("bob", "all")] * 2
    assert engine.try_acquire("x", "owner 0").token > leases[2].token, "the owner can only get a new one"


@pytest.mark.parametrize(("by", "reason"), [("", "why"), ("ann", ""), ("ann", "  ")])
def test_taking_away_needs_who_and_why(engine: LeaseEngine, by: str, reason: str) -> None:
    lease = engine.try_acquire("x")
    with pytest.raises(ConfigurationError, match="needs who and why"):
        engine.revoke("x", by=by, reason=reason)
    with pytest.raises(ConfigurationError, match="needs who and why"):
        engine.pause("x", by=by, reason=reason)
    assert engine.renew(lease)


def test_clean_up_removes_what_has_expired_and_nothing_else(dialect: Dialect, engine: LeaseEngine) -> None:
    dead, living = engine.try_acquire("dead"), engine.try_acquire("living")
    dialect.expire(dead)
    assert engine.clean_up() == 1
    assert engine.clean_up() == 0
    assert [lease.token for lease in engine.leases()] == [living.token]
    assert engine.last_event("dead", dead.owner_id) == "expired"


def test_leases_and_queue_can_be_asked_by_lock_and_by_owner(engine: LeaseEngine) -> None:
    for name in ("a", "b"):
        engine.try_acquire(name, "one")
        engine.enqueue(name, owner_id="two")
    assert [lease.lock_name for lease in engine.leases()] == ["a", "b"]
    assert [lease.lock_name for lease in engine.leases("a")] == ["a"]
    assert [lease.lock_name for lease in engine.leases("a", owner_id="one")] == ["a"]
    assert engine.leases("a", owner_id="two") == []
    assert [(waiter.lock_name, waiter.owner_id) for waiter in engine.queue()] == [("a", "two"), ("b", "two")]
    assert [waiter.lock_name for waiter in engine.queue("b", owner_id="two")] == ["b"]
    assert engine.queue(owner_id="one") == []


def test_history_tells_the_life_of_a_lease_newest_first(engine: LeaseEngine) -> None:
    first = engine.try_acquire("x", "one", owner="first")
    ticket = engine.enqueue("x", owner_id="two")
    engine.release(first)
    second = engine.reserve(ticket.number)
    engine.confirm(ticket.number, "two")
    told = [(event.event, event.token) for event in engine.history("x")]
    assert told == [
        ("confirmed", second.token),
        ("reserved", second.token),
        ("released", first.token),
        ("granted", first.token),
    ]
    assert engine.history("x")[2].held >= 0
    assert len(engine.history("x", limit=2)) == 2
    assert engine.last_event("x", "one") == "released"
    assert engine.last_event("x", "nobody") is None
