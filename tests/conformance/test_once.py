"""What has been done under which key: a second run of the same work finds out."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_lockprovider.lease import ConfigurationError, LeaseEngine, LeaseLost
from tests.conformance.dialects import Dialect


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
def test_a_late_owner_records_nothing(engine: LeaseEngine, dialect: Dialect, ending: str):
    lease = engine.try_acquire("x")
    assert lease
    if ending == "released":
        engine.release(lease)
    elif ending == "revoked":
        engine.revoke("x", by="ann", reason="stuck")
    else:
        dialect.expire(lease)
    if ending == "taken over":
        assert engine.try_acquire("x")

    with pytest.raises(LeaseLost):
        engine.mark_done(lease, "k")
    assert engine.done("x", "k") is None


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


def test_old_keys_are_pruned_by_age(engine: LeaseEngine, dialect: Dialect):
    for name in ("a", "b"):
        lease = engine.try_acquire(name)
        assert lease
        engine.mark_done(lease, "k")
    dialect.query("update lockprovider.done set done_at = done_at - interval '40 days' where lock_name = 'a'")

    assert engine.prune_done(30 * 86400) == 1
    assert engine.done("a", "k") is None
    assert engine.done("b", "k") is not None
    with pytest.raises(ConfigurationError, match="older_than"):
        engine.prune_done(0)
