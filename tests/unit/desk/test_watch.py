"""The rules of the watch, on made-up leases and queues."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airflow_lockprovider.desk.watch import Thresholds, expected_hold, problems, renewal_age
from airflow_lockprovider.lease.model import Blocker, Lease, LeaseEvent, Waiter
from airflow_lockprovider.lease.settings import LeaseSettings

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SETTINGS = LeaseSettings()
NOW = Thresholds(held=3600, waiting=600, queue=3)


def lease(*, held=60.0, renewed=10.0, ttl=120.0, state="held", context=None, owner_id="1", name="dwh.sales"):
    """A lease that is held for ``held`` seconds, and was renewed ``renewed`` seconds ago."""
    remaining = ttl - renewed
    created = NOON - timedelta(seconds=held)
    return Lease(
        name, owner_id, "d/r/load#1", 7, 1, False, state, ttl, remaining, created,
        NOON + timedelta(seconds=remaining), context or {},
    )  # fmt: skip


def waiter(position=1, *, waited=5.0, alive=True, owner_id="w", name="dwh.sales"):
    blocked = (Blocker("lease", "d/r/load#1 (token 7, held)", token=7),)
    return Waiter(position, name, owner_id, f"d/r/wait#{position}", 1, False, 0, NOON, waited, position, alive, blocked)


def event(kind, *, owner_id="1", held=None, seconds_ago=30, name="dwh.sales"):
    return LeaseEvent(
        NOON - timedelta(seconds=seconds_ago), name, 7, owner_id, "d/r/load#1", kind, None, held, None, None
    )


def found(leases=(), waiters=(), thresholds=NOW, settings=SETTINGS, **more):
    return [(each.kind, each.owner) for each in problems(leases, waiters, thresholds, settings, **more)]


def test_what_is_in_order_is_not_told():
    assert found([lease()], [waiter()], states={"1": "running", "w": "deferred"}, history=[event("granted")]) == []


def test_a_lease_is_held_too_long_when_it_is_older_than_expected_and_without_a_word_older_than_the_threshold():
    assert found([lease(held=3601)]) == [("held too long", "d/r/load#1")]
    assert found([lease(held=3599)]) == []
    assert found([lease(held=601, context={"expected_hold": 600})]) == [("held too long", "d/r/load#1")]
    assert found([lease(held=3700, context={"expected_hold": 7200})]) == []
    assert found([lease(held=9e6)], thresholds=Thresholds(held=None)) == []
    assert expected_hold(lease(context={"expected_hold": "nonsense"}), NOW) == 3600


def test_the_time_held_is_the_databases_however_often_the_lease_was_renewed():
    (problem,) = problems([lease(held=7260, renewed=3)], [], NOW, SETTINGS)
    assert problem.seconds == pytest.approx(7260)
    assert problem.text == "held for 2h 1m, expected were 1h 0m at most"
    assert problem.key == "watch/held too long/dwh.sales"
    assert problem.todo.format(program="airflow locks").endswith("airflow locks revoke dwh.sales --reason …")


def test_a_renewal_is_late_after_two_that_were_missed_not_because_little_time_is_left():
    assert found([lease(renewed=59)]) == []  # renewed every 30 s
    assert found([lease(renewed=61)]) == [("renewal late", "d/r/load#1")]
    assert found([lease(ttl=4, renewed=1.9)]) == []  # 2.1 s are left, and it is in order
    assert found([lease(renewed=25)], settings=LeaseSettings(renew_every=10)) == [("renewal late", "d/r/load#1")]
    assert renewal_age(lease(renewed=25)) == 25


def test_a_short_lease_is_judged_by_its_own_ttl_where_renew_every_is_meant_for_longer_ones():
    assert found([lease(ttl=12, renewed=4)], settings=LeaseSettings(renew_every=30)) == []
    assert found([lease(ttl=12, renewed=7)], settings=LeaseSettings(renew_every=30)) == [("renewal late", "d/r/load#1")]


def test_a_reservation_is_nobodys_fault_yet():
    assert found([lease(held=9000, renewed=100, state="reserved")], states={"1": "failed"}) == []


def test_an_owner_is_dead_when_its_task_has_ended_and_the_lease_lives():
    context = {"host": "node7", "pid": 42}
    (problem,) = problems([lease(context=context)], [], NOW, SETTINGS, states={"1": "failed"})

    assert problem.kind == "dead owner"
    assert "its task is failed" in problem.text
    assert "on node7 (process 42)" in problem.text
    assert found([lease()], states={"1": "up_for_retry"}) == []
    assert found([lease()], states={}) == []
    assert found([lease(context={"scope": True})], states={"1": "success"}) == []  # its first task ends early


def test_a_lease_that_expired_while_its_task_still_runs_is_told():
    gone = [event("expired"), event("granted", seconds_ago=300)]
    assert found(history=gone, states={"1": "running"}) == [("lease lost", "d/r/load#1")]
    assert found(history=gone, states={"1": "failed"}) == []
    assert found(history=gone) == []
    assert found([lease()], history=gone, states={"1": "running"}) == []  # it got another one
    assert found([], [waiter(owner_id="1")], history=gone, states={"1": "running"}) == []
    assert found(history=[event("released", seconds_ago=1), *gone], states={"1": "running"}) == []
    assert found(history=[event("guarded", seconds_ago=1), *gone], states={"1": "running"}) != []


def test_a_waiter_waits_too_long_and_the_words_say_what_is_in_its_way():
    (problem,) = problems([], [waiter(2, waited=601)], NOW, SETTINGS)
    assert (problem.kind, problem.seconds) == ("waiting too long", 601)
    assert problem.text == "waiting for 10m 1s, at place 2; in its way: lease: d/r/load#1 (token 7, held)"
    assert found([], [waiter(waited=599)]) == []
    assert found([], [waiter(waited=601, alive=False)]) == []
    assert found([], [waiter(waited=9e6)], Thresholds(waiting=None)) == []


def test_a_waiter_is_forgotten_when_nobody_looks_after_it_and_its_task_still_waits():
    assert found([], [waiter(alive=False)], states={"w": "deferred"}) == [("waiter forgotten", "d/r/wait#1")]
    assert found([], [waiter(alive=False)], states={"w": "failed"}) == []  # it will never come
    assert found([], [waiter(alive=False)]) == []
    assert found([], [waiter()], states={"w": "deferred"}) == []


def test_a_queue_is_too_long_by_its_living_waiters_and_the_words_tell_the_usual_time():
    line = [waiter(number, owner_id=str(number)) for number in range(1, 6)]
    history = [event("released", held=held) for held in (30, 90, 600)]

    (problem,) = problems([], line[:4], NOW, SETTINGS, history=history)

    assert (problem.kind, problem.owner, problem.detail["waiters"]) == ("queue too long", "", 4)
    assert problem.text == "4 are waiting; it is usually held for 1m 30s"
    assert found([], line[:3]) == []
    dead = [waiter(9, alive=False, owner_id="dead")]
    assert found([], line[:3] + dead) == []
    assert found([], line * 100, Thresholds(queue=None)) == []


def test_problems_come_lock_by_lock():
    later, sooner = lease(held=9000, name="b"), lease(held=9000, name="a")
    assert [each.lock_name for each in problems([later, sooner], [], NOW, SETTINGS)] == ["a", "b"]


def test_any_name_may_stand_in_a_command():
    (problem,) = problems([lease(held=9000, name="a {b}; rm -rf '")], [], NOW, SETTINGS)
    assert problem.todo.format(program="airflow locks").endswith("""revoke 'a {b}; rm -rf '"'"'' --reason …""")
