"""A locked task that waits on its worker for the last moments, instead of leaving it."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
import uuid
from datetime import timedelta

import psycopg
import pytest
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG

from airflow_lockprovider import LeaseHook, Lock, LockedOperator
from airflow_lockprovider.operators.abort import TaskAborted
from airflow_lockprovider.triggers.coordinator import Coordinator

from .conftest import fire
from .deferring import Defers, Ping

NAME = "dwh.sales"


@pytest.fixture(autouse=True)
def standby(hook, monkeypatch):
    monkeypatch.setenv("AIRFLOW__LOCKPROVIDER__STANDBY", "auto")


@pytest.fixture
def sql(database, hook):
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection.execute


@pytest.fixture
def in_background():
    """Does something in a thread; what it does there is done before the test ends."""
    threads = []

    def start(work, *, after=0.0):
        def later():
            time.sleep(after)
            work()

        threads.append(threading.Thread(target=later))
        threads[-1].start()

    yield start
    for thread in threads:
        thread.join()


@pytest.fixture
def usually_held(sql):
    """Let the lock have been held for so many seconds three times."""

    def write(seconds):
        for _ in range(3):
            sql(
                "insert into lockprovider.lease_event (lock_name, token, owner_id, owner, event, held)"
                " values (%s, 1, 'o', 'o', 'released', %s)",
                (NAME, seconds),
            )

    return write


def python(callable_=lambda: "done", lock=NAME, **kwargs):
    with DAG("a_dag", schedule=None):
        return LockedOperator(task_id="load", operator=PythonOperator, python_callable=callable_, lock=lock, **kwargs)


def elsewhere(hook):
    """Somebody in another thread, with a connection of its own."""
    return LeaseHook(settings=hook.settings)


def released_later(hook, lease, in_background, after=0.5):
    other = elsewhere(hook)

    def give_back():
        try:
            other.release(lease)
        finally:
            other.close()

    in_background(give_back, after=after)


# The first leg


def test_the_next_in_line_waits_on_its_worker_and_does_not_defer(hook, run, in_background):
    released_later(hook, hook.try_acquire(NAME), in_background)

    outcome = run(python())

    assert outcome.state == "success"
    events = [event.event for event in reversed(hook.history(NAME))]
    assert events == ["granted", "released", "granted", "released"], "no reservation: it was there already"
    assert hook.queue() == []


def test_if_it_takes_too_long_it_leaves_its_worker_and_keeps_its_place(hook, run, sql, next_leg):
    other = hook.try_acquire(NAME)
    started = time.monotonic()

    task = python()
    outcome = run(task)

    # 3 s for a call-up while nothing is measured, and here no settle time.
    assert 2.5 < time.monotonic() - started < 6
    assert outcome.state == "deferred"
    (place,) = hook.queue(NAME)
    hook.release(other)
    assert next_leg(task, outcome).state == "success"
    assert {row[0] for row in sql("select ticket from lockprovider.lease_event where ticket is not null")} == {
        place.ticket
    }


def test_where_the_lock_is_usually_held_for_long_it_leaves_at_once(hook, run, usually_held):
    usually_held(3600)
    hook.try_acquire(NAME)
    started = time.monotonic()

    assert run(python()).state == "deferred"
    assert time.monotonic() - started < 2


def test_whoever_is_not_next_in_line_leaves_at_once_if_nothing_is_known(hook, run, sql):
    hook.try_acquire(NAME)
    sql("update lockprovider.lease set created_at = clock_timestamp() - interval '1 minute'")
    hook.enqueue(NAME, owner_id="somebody before us")
    started = time.monotonic()

    assert run(python()).state == "deferred"
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("lock", [Lock(NAME, standby="never"), [Lock(NAME), Lock("other", standby="never")]])
def test_never_leaves_at_once(hook, run, lock):
    hook.try_acquire(NAME)
    started = time.monotonic()

    assert run(python(lock=lock)).state == "deferred"
    assert time.monotonic() - started < 2


def test_nobody_waits_in_a_pool_that_somebody_has_made_unless_told_to(hook, run, in_background):
    lease = hook.try_acquire(NAME)
    started = time.monotonic()
    assert run(python(pool="one_slot")).state == "deferred"
    assert time.monotonic() - started < 2
    hook.withdraw(hook.queue(NAME)[0].ticket, hook.queue(NAME)[0].owner_id)

    released_later(hook, lease, in_background)
    assert run(python(pool="one_slot", lock=Lock(NAME, standby="always"))).state == "success"


def test_wait_timeout_ends_the_wait_on_the_worker_too(hook, run):
    hook.try_acquire(NAME)
    started = time.monotonic()

    outcome = run(python(lock=Lock(NAME, wait_timeout=1)))

    assert outcome.state == "failed"
    assert type(outcome.error).__name__ == "LeaseWaitTimeout"
    assert 0.9 < time.monotonic() - started < 3
    assert hook.queue() == []


def test_execution_timeout_does_not_run_while_it_waits_on_the_worker(hook, run, in_background):
    released_later(hook, hook.try_acquire(NAME), in_background, after=1.5)

    outcome = run(python(execution_timeout=timedelta(seconds=1)))

    assert outcome.state == "success"


def test_a_task_that_is_told_to_stop_while_it_waits_on_the_worker_leaves_the_line(hook, run, in_background):
    hook.try_acquire(NAME)
    in_background(lambda: os.kill(os.getpid(), signal.SIGTERM), after=0.7)
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        outcome = run(python())
    finally:
        signal.signal(signal.SIGTERM, before)

    assert isinstance(outcome.error, TaskAborted)
    assert hook.queue() == []


def test_several_locks_are_waited_for_on_the_worker_together(hook, run, in_background):
    released_later(hook, hook.try_acquire("other"), in_background)

    assert run(python(lock=[NAME, "other"])).state == "success"


# Called up


def deferred_and_called_up(hook, run, revive, usually_held):
    """A task that has left its worker, and the event of its trigger that calls it up."""
    lease = hook.try_acquire(NAME)
    task = python(lock=Lock(NAME, expected_hold=3600))
    waiting = run(task)
    assert waiting.state == "deferred"
    usually_held(0.5)
    return lease, task, waiting, fire(revive(waiting))


def test_a_waiting_task_is_called_up_and_then_has_the_lock_at_once(
    hook, run, revive, next_leg, usually_held, in_background
):
    lease, task, waiting, event = deferred_and_called_up(hook, run, revive, usually_held)
    assert event["__lease__"]["phase"] == "standby"
    assert [one.owner for one in hook.leases(NAME)] == [lease.owner], "to be called up is no grant"
    given_back = []

    def give_back():
        other = elsewhere(hook)
        other.release(lease)
        given_back.append(time.monotonic())
        other.close()

    ran = []
    task.python_callable = lambda: ran.append(time.monotonic())
    in_background(give_back, after=1.0)
    outcome = next_leg(task, waiting, event=event)

    assert outcome.state == "success"
    assert ran[0] - given_back[0] < 0.5


def test_a_call_up_for_nothing_goes_back_with_the_same_ticket_and_the_lock_rests(
    hook, run, revive, next_leg, usually_held, monkeypatch
):
    monkeypatch.setenv("AIRFLOW__LOCKPROVIDER__STANDBY_LIMIT", "1")
    _, task, waiting, event = deferred_and_called_up(hook, run, revive, usually_held)
    (place,) = hook.queue(NAME)

    again = next_leg(task, waiting, event=event)

    assert again.state == "deferred"
    assert [waiter.ticket for waiter in hook.queue(NAME)] == [place.ticket]
    with pytest.raises(TimeoutError):
        fire(revive(again), timeout=0.7)
    assert fire(revive(again), timeout=10)["__lease__"]["phase"] == "standby", "called up again after two seconds"


def test_who_was_called_up_and_finds_its_ticket_gone_starts_over(hook, run, revive, next_leg, usually_held):
    lease, task, waiting, event = deferred_and_called_up(hook, run, revive, usually_held)
    (place,) = hook.queue(NAME)
    hook.withdraw(place.ticket, place.owner_id)
    hook.release(lease)

    assert next_leg(task, waiting, event=event).state == "success"


def test_a_stale_trigger_of_one_who_was_called_up_grants_nothing_to_anybody_else(
    hook, run, revive, next_leg, usually_held
):
    lease, task, waiting, event = deferred_and_called_up(hook, run, revive, usually_held)
    hook.release(lease)
    stale = fire(revive(waiting))
    assert stale["__lease__"]["phase"] == "reserved"

    assert next_leg(task, waiting, event=event).state == "success"
    assert hook.leases() == []
    assert hook.queue() == []


def test_a_restarted_triggerer_goes_on_with_a_ticket_that_was_called_up_by_the_one_before(
    hook, run, revive, usually_held, monkeypatch
):
    lease, _, waiting, _ = deferred_and_called_up(hook, run, revive, usually_held)
    monkeypatch.setattr(Coordinator, "_all", {})
    with pytest.raises(TimeoutError):
        fire(revive(waiting), timeout=0.5)
    hook.release(lease)

    assert fire(revive(waiting))["__lease__"]["phase"] == "reserved"


class Asks(Defers):
    """Asks, when it has its worker back, what a poll says of a ticket."""

    asked = []

    def complete(self, context, event, number):
        hook = LeaseHook()
        self.asked.append(hook.look("s", [waiter.ticket for waiter in hook.queue(NAME)])[0].verdict)
        return super().complete(context, event, number)


def test_nobody_is_called_up_while_the_holder_is_deferred_and_again_when_it_has_its_worker_back(
    hook, run, revive, next_leg, usually_held
):
    with DAG("a_dag", schedule=None):
        holder = LockedOperator(task_id="holds", operator=Asks, lock=NAME, trigger=Ping(seconds=1.5))
    held = run(holder)
    assert held.state == "deferred"
    waiting = run(python(lock=Lock(NAME, expected_hold=3600)))
    assert waiting.state == "deferred"
    usually_held(0.5)

    async def keep_and_wait():
        kept = asyncio.ensure_future(anext(revive(held).run()))
        await asyncio.sleep(0.5)  # the first renewal is done at once, and tells that the holder has no worker
        up = asyncio.ensure_future(anext(revive(waiting).run()))
        done, _ = await asyncio.wait({kept, up}, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert done == {kept}, "the waiter was called up while the holder needs a worker to finish"
        up.cancel()
        return kept.result().payload

    event = asyncio.run(keep_and_wait())
    (place,) = hook.queue(NAME)
    assert hook.look("s", [place.ticket])[0].verdict == "wait"

    Asks.asked.clear()
    assert next_leg(holder, held, event=event).state == "success"
    assert Asks.asked == ["call"]


def test_a_call_up_is_the_same_try(hook, run, revive, usually_held):
    ti_id = uuid.uuid4()
    hook.try_acquire(NAME)
    waiting = run(python(lock=Lock(NAME, expected_hold=3600)), ti_id=ti_id)
    usually_held(0.5)
    event = fire(revive(waiting))
    assert hook.queue(NAME)[0].owner_id == str(ti_id)
    assert event["__lease__"]["ticket"] == hook.queue(NAME)[0].ticket
