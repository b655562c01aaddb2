"""Who waits where: call-ups to a worker, and first legs that stay there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from airflow_lockprovider.lease import Lease, LeaseEngine, Lock, connect
from airflow_lockprovider.lease.standby import MOST_READY

Sql = psycopg.Connection[Any]
SETTLE = 8.0


@pytest.fixture
def other(database: str, engine: LeaseEngine) -> Iterator[LeaseEngine]:
    """Another process."""
    other = connect(database)
    yield other
    other.close()


@pytest.fixture
def history(admin: Sql) -> Callable[..., None]:
    """Let a lock have been held for so many seconds, again and again."""

    def write(name: str, held: float, *, task: str = "t", times: int = 3) -> None:
        for _ in range(times):
            admin.execute(
                "insert into lockprovider.lease_event (lock_name, token, owner_id, owner, event, held, context)"
                " values (%s, 1, 'o', 'o', 'released', %s, jsonb_build_object('dag_id', 'd', 'task_id', %s::text))",
                (name, held, task),
            )

    return write


@pytest.fixture
def held_for(admin: Sql) -> Callable[[Lease, float], None]:
    """Let a lease have been held since so many seconds ago."""

    def age(lease: Lease, seconds: float) -> None:
        admin.execute(
            "update lockprovider.lease set created_at = clock_timestamp() - make_interval(secs => %s) where token = %s",
            (seconds, lease.token),
        )

    return age


def waiting(engine: LeaseEngine, name: str, owner_id: str, **options: Any) -> tuple[int, float]:
    """A ticket, and for how long its worker may linger."""
    number = engine.enqueue(name, owner_id=owner_id).number
    return number, engine.linger(number, owner_id, settle=SETTLE, **options)


def elsewhere(engine: LeaseEngine, name: str, owner_id: str, **options: Any) -> int:
    """A waiter in a triggerer."""
    number, stays = waiting(engine, name, owner_id, **options)
    if stays:
        engine.stand_down(number, owner_id)
    return number


def verdicts(engine: LeaseEngine, *tickets: int, **options: Any) -> list[str]:
    views = {view.number: view.verdict for view in engine.look("s", tickets, **options)}
    return [views[ticket] for ticket in tickets]


# Lingering


def test_the_next_in_line_lingers_even_if_nothing_is_known_and_the_one_behind_does_not(
    engine: LeaseEngine, held_for: Callable[[Lease, float], None]
) -> None:
    lease = engine.try_acquire("x")
    held_for(lease, 60)
    assert waiting(engine, "x", "first")[1] == pytest.approx(SETTLE + 3)
    assert waiting(engine, "x", "second")[1] == 0


def test_where_nothing_is_known_a_holder_is_taken_to_need_as_long_as_it_has_had(
    engine: LeaseEngine, held_for: Callable[[Lease, float], None]
) -> None:
    lease = engine.try_acquire("x")
    held_for(lease, 2)
    stays = [waiting(engine, "x", f"waiter {number}")[1] > 0 for number in range(7)]
    assert stays == [True] * 5 + [False] * 2, "2 s for the holder and for each before us, within 11 s"


def test_on_a_lock_that_is_held_for_a_second_several_linger_but_not_any_number(
    engine: LeaseEngine, history: Callable[..., None]
) -> None:
    history("x", 1.0)
    engine.try_acquire("x")
    stays = [waiting(engine, "x", f"waiter {number}")[1] for number in range(MOST_READY + 2)]
    assert all(stays[:MOST_READY])
    assert stays[MOST_READY:] == [0, 0]


def test_on_a_lock_that_is_usually_held_for_long_nobody_lingers(
    engine: LeaseEngine, history: Callable[..., None]
) -> None:
    history("x", 3600.0)
    engine.try_acquire("x")
    assert waiting(engine, "x", "first")[1] == 0


def test_what_the_task_declares_stands_in_for_history(engine: LeaseEngine) -> None:
    engine.try_acquire("x")
    assert waiting(engine, "x", "first", expected_hold=3600)[1] == 0
    engine.try_acquire("y")
    waiting(engine, "y", "first", expected_hold=1)
    assert waiting(engine, "y", "second", expected_hold=1)[1] > 0


def test_the_history_of_the_holders_own_task_counts_more_than_that_of_others(
    engine: LeaseEngine, history: Callable[..., None]
) -> None:
    history("x", 3600.0, task="long", times=9)
    history("x", 1.0, task="short")
    engine.try_acquire("x", context={"dag_id": "d", "task_id": "short"})
    assert waiting(engine, "x", "first")[1] > 0


@pytest.mark.parametrize("mode", ["auto", "always"])
def test_nobody_lingers_while_the_holder_needs_a_worker_to_finish(engine: LeaseEngine, mode: Any) -> None:
    lease = engine.try_acquire("x")
    engine.set_deferred([lease], True)
    assert waiting(engine, "x", "first", mode=mode)[1] == 0
    engine.set_deferred([lease], False)
    assert waiting(engine, "x", "second", mode="auto")[1] > 0


def test_nobody_lingers_while_a_reservation_waits_for_its_worker(engine: LeaseEngine) -> None:
    lease = engine.try_acquire("x")
    ahead = elsewhere(engine, "x", "ahead")
    engine.release(lease)
    assert engine.reserve(ahead)
    assert waiting(engine, "x", "first")[1] == 0


def test_never_means_never(engine: LeaseEngine) -> None:
    engine.try_acquire("x")
    number, stays = waiting(engine, "x", "first", mode="never")
    assert stays == 0
    assert verdicts(engine, number) == ["wait"]
    assert engine.call_up(number) is False


# Call-ups


def test_a_waiter_is_called_up_shortly_before_history_says_that_the_lock_becomes_free(
    engine: LeaseEngine, history: Callable[..., None], held_for: Callable[[Lease, float], None]
) -> None:
    history("x", 600.0)
    lease = engine.try_acquire("x")
    first, second = (elsewhere(engine, "x", name) for name in ("first", "second"))
    assert verdicts(engine, first, second) == ["wait", "wait"]
    held_for(lease, 590)
    assert verdicts(engine, first, second) == ["wait", "wait"]
    held_for(lease, 598)
    assert verdicts(engine, first, second) == ["call", "wait"]
    assert engine.call_up(second) is False
    assert engine.call_up(first) is True
    assert verdicts(engine, first, second) == ["wait", "wait"]
    assert engine.call_up(first) is False, "it is on its way"


def test_how_many_are_called_up_follows_from_how_long_the_lock_is_held(
    engine: LeaseEngine, history: Callable[..., None]
) -> None:
    history("x", 1.0)
    engine.try_acquire("x")
    tickets = [elsewhere(engine, "x", f"waiter {number}") for number in range(12)]
    called = [ticket for ticket in tickets if engine.call_up(ticket)]
    # 3 s for a call-up, 1 s for the next look, 1 s per holder: those whose turn comes within four seconds.
    assert called == tickets[: len(called)]
    assert 3 <= len(called) <= 5


def test_no_call_up_of_who_may_not_fire_yet(engine: LeaseEngine, history: Callable[..., None]) -> None:
    history("x", 1.0)
    engine.try_acquire("x")
    first = elsewhere(engine, "x", "first")
    assert verdicts(engine, first, unsettled=[first]) == ["wait"]
    assert verdicts(engine, first) == ["call"]


@pytest.mark.parametrize("mode", ["auto", "always"])
def test_no_call_up_while_the_holder_is_deferred(engine: LeaseEngine, history: Callable[..., None], mode: Any) -> None:
    history("x", 1.0)
    lease = engine.try_acquire("x")
    first = elsewhere(engine, "x", "first", mode=mode)
    engine.set_deferred([lease], True)
    assert verdicts(engine, first) == ["wait"]
    assert engine.call_up(first) is False
    engine.set_deferred([lease], False)
    assert engine.call_up(first) is True


def test_a_request_for_two_locks_is_called_up_when_both_are_about_to_be_free(
    engine: LeaseEngine, history: Callable[..., None], held_for: Callable[[Lease, float], None]
) -> None:
    history("x", 1.0)
    history("y", 600.0)
    engine.try_acquire("x")
    lease = engine.try_acquire("y")
    number = engine.enqueue([Lock("x"), Lock("y")], owner_id="me").number
    assert engine.linger(number, "me", settle=SETTLE) == 0
    assert verdicts(engine, number) == ["wait"]
    held_for(lease, 599)
    assert verdicts(engine, number) == ["call"]
    assert engine.call_up(number) is True


def test_a_called_up_waiter_that_does_not_come_is_passed_over_and_keeps_its_ticket(
    engine: LeaseEngine, history: Callable[..., None], admin: Sql
) -> None:
    history("x", 1.0)
    lease = engine.try_acquire("x")
    first, second = (elsewhere(engine, "x", name) for name in ("first", "second"))
    engine.look("s", [first, second])
    assert engine.call_up(first)
    admin.execute(
        "update lockprovider.waiter set seen_at = clock_timestamp() - interval '11 seconds' where ticket = %s", (first,)
    )
    engine.release(lease)
    assert verdicts(engine, second) == ["try"], "the session that called it up does not keep its place alive"
    assert engine.reserve(second)
    assert [waiter.ticket for waiter in engine.queue("x")] == [first]


def test_after_a_call_up_for_nothing_the_lock_rests_and_then_it_is_tried_again(
    engine: LeaseEngine, history: Callable[..., None], admin: Sql
) -> None:
    history("x", 1.0)
    engine.try_acquire("x")
    first, second = (elsewhere(engine, "x", name) for name in ("first", "second"))
    assert engine.call_up(first)
    answer = engine.stand_by(first, "first", 0.2, called=True)
    assert answer is not None
    assert not answer
    assert verdicts(engine, first, second) == ["wait", "wait"]
    rest = admin.execute(
        "select extract(epoch from rests_until - clock_timestamp())::float8 from lockprovider.standby_rest"
    ).fetchone()
    assert rest is not None
    assert 28 < rest[0] <= 30, "twice as long as a standby stays"
    admin.execute("update lockprovider.standby_rest set rests_until = clock_timestamp()")
    assert verdicts(engine, first) == ["call"]


def test_always_does_not_ask_history_and_does_not_rest(engine: LeaseEngine, history: Callable[..., None]) -> None:
    history("x", 3600.0)
    engine.try_acquire("x")
    first, second = (elsewhere(engine, "x", name, mode="always") for name in ("first", "second"))
    for _ in range(2):
        assert verdicts(engine, first, second) == ["call", "wait"]
        assert engine.call_up(first)
        assert not engine.stand_by(first, "first", 0.0, called=True)


# On the worker


def test_a_standby_has_the_lock_moments_after_it_was_given_back(engine: LeaseEngine, other: LeaseEngine) -> None:
    lease = engine.try_acquire("x")
    number = elsewhere(engine, "x", "me")
    seen: list[float] = []

    def stand_by() -> None:
        try:
            got = other.stand_by(number, "me", 20)
            assert got
            seen.append(time.monotonic())
        finally:
            other.close()

    thread = threading.Thread(target=stand_by)
    thread.start()
    time.sleep(1.2)  # the pauses between looks have grown to a second by now
    before = time.monotonic()
    engine.release(lease)
    thread.join(10)
    assert seen[0] - before < 0.25


def test_the_place_of_a_standby_is_kept_alive(engine: LeaseEngine, admin: Sql) -> None:
    engine.try_acquire("x")
    number = elsewhere(engine, "x", "me")
    admin.execute("update lockprovider.waiter set seen_at = clock_timestamp() - interval '1 hour'")
    assert not engine.stand_by(number, "me", 0.05)
    assert engine.queue("x")[0].alive


def test_a_standby_whose_ticket_was_withdrawn_is_told_so(engine: LeaseEngine) -> None:
    engine.try_acquire("x")
    number = elsewhere(engine, "x", "me")
    engine.withdraw(number, "me")
    assert engine.stand_by(number, "me", 5, called=True) is None


def test_how_long_a_call_up_takes_is_measured(engine: LeaseEngine, history: Callable[..., None], admin: Sql) -> None:
    history("x", 1.0)
    engine.try_acquire("x")
    for number in range(3):
        ticket = elsewhere(engine, "x", f"waiter {number}")
        assert engine.call_up(ticket)
        admin.execute(
            "update lockprovider.standby set called_at = clock_timestamp() - interval '12 seconds' where ticket = %s",
            (ticket,),
        )
        assert not engine.stand_by(ticket, f"waiter {number}", 0, called=True)
        engine.withdraw(ticket, f"waiter {number}")
        admin.execute("truncate lockprovider.standby_rest")
    assert waiting(engine, "x", "next")[1] == pytest.approx(SETTLE + 12, abs=0.5)


def test_two_coordinators_do_not_both_call_up(
    engine: LeaseEngine, other: LeaseEngine, history: Callable[..., None]
) -> None:
    history("x", 600.0)
    engine.try_acquire("x")
    number = elsewhere(engine, "x", "me", mode="always")
    assert [engine.call_up(number), other.call_up(number)] == [True, False]
