"""A locked task whose lock is taken: it waits in the triggerer, by ticket."""

from __future__ import annotations

import asyncio
import threading
import uuid

import pytest
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG

from airflow_lockprovider import Lock, LockedOperator
from airflow_lockprovider.exceptions import LeaseWaitTimeout

from .conftest import fire


def python(callable_, lock="dwh.sales"):
    with DAG("a_dag", schedule=None):
        return LockedOperator(task_id="load", operator=PythonOperator, python_callable=callable_, lock=lock)


def test_a_task_waits_in_the_triggerer_and_runs_when_the_lock_is_free(hook, run, next_leg):
    other = hook.try_acquire("dwh.sales")
    task = python(lambda: "done")
    waiting = run(task)

    assert waiting.state == "deferred"
    assert waiting.message.classpath.endswith("WaitForLeaseTrigger")
    assert [waiter.owner for waiter in hook.queue("dwh.sales")] == ["a_dag/a_run/load#1"]

    hook.release(other)
    outcome = next_leg(task, waiting)

    assert outcome.state == "success"
    assert outcome.pushed() == "done"
    assert hook.queue() == []
    assert hook.leases() == []
    assert [event.event for event in reversed(hook.history("dwh.sales"))][2:] == ["reserved", "confirmed", "released"]


def test_the_trigger_does_not_fire_while_the_lock_is_held(hook, run, revive):
    hook.try_acquire("dwh.sales")
    trigger = revive(run(python(print)))

    with pytest.raises(TimeoutError):
        fire(trigger, timeout=0.5)


def test_templates_are_rendered_with_the_token_after_a_wait(hook, run, next_leg):
    other = hook.try_acquire("dwh.sales")
    with DAG("a_dag", schedule=None):
        task = LockedOperator(
            task_id="echo", operator=BashOperator, lock="dwh.sales", bash_command="echo {{ lease.token }}"
        )
    waiting = run(task)
    hook.release(other)

    outcome = next_leg(task, waiting)

    assert int(outcome.pushed()) > other.token


def test_tasks_get_the_lock_in_the_order_in_which_they_came(hook, run, revive, next_leg):
    other = hook.try_acquire("dwh.sales")
    first, second = python(lambda: 1), python(lambda: 2)
    waiting = [run(first), run(second)]
    hook.release(other)

    async def both():
        triggers = [revive(outcome) for outcome in waiting]
        runs = [trigger.run() for trigger in triggers]
        tasks = [asyncio.ensure_future(anext(generator)) for generator in runs]
        done, _ = await asyncio.wait(tasks, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        index = [tasks.index(item) for item in done]
        for item in tasks:
            item.cancel()
        return index

    assert asyncio.run(both()) == [0]


def test_a_newcomer_does_not_overtake_a_waiting_task(hook, run):
    other = hook.try_acquire("dwh.sales")
    run(python(print))
    hook.release(other)

    assert not hook.try_acquire("dwh.sales")


def test_a_reservation_that_lapsed_before_the_worker_came_keeps_its_place_in_line(hook, run, revive, next_leg):
    other = hook.try_acquire("dwh.sales")
    task = python(lambda: "done", lock=Lock("dwh.sales", handover_ttl="1 s"))
    waiting = run(task)
    (place,) = hook.queue("dwh.sales")
    hook.release(other)
    event = fire(revive(waiting))
    _expire(hook, "dwh.sales")
    intruder = None
    while not intruder:  # others pass a waiter that nobody looks after
        _age(hook, place.ticket)
        intruder = hook.try_acquire("dwh.sales")

    again = next_leg(task, waiting, event=event)
    assert again.state == "deferred"
    assert [waiter.ticket for waiter in hook.queue("dwh.sales")] == [place.ticket]

    hook.release(intruder)
    assert next_leg(task, again).pushed() == "done"


def _expire(hook, lock):
    with hook.store.transaction() as connection:
        connection.execute("update lockprovider.lease set expires_at = clock_timestamp() where lock_name = %s", [lock])


def _age(hook, ticket):
    with hook.store.transaction() as connection:
        connection.execute(
            "update lockprovider.waiter set seen_at = seen_at - interval '1 hour', worker_session = null"
            " where ticket = %s",
            [ticket],
        )


def test_the_wait_is_limited_over_all_legs(hook, run, next_leg):
    hook.try_acquire("dwh.sales", owner="somebody")
    task = python(print, lock=Lock("dwh.sales", wait_timeout=0.3))

    outcome = next_leg(task, run(task))

    assert outcome.state == "failed"
    assert isinstance(outcome.error, LeaseWaitTimeout)
    assert "somebody" in str(outcome.error)
    assert hook.queue() == []


def test_an_event_is_not_believed_without_asking_the_database(hook, run, revive, next_leg):
    """A trigger may run twice, or its event may be hours old."""
    other = hook.try_acquire("dwh.sales")
    ran = []
    task = python(lambda: ran.append(1))
    waiting = run(task)
    hook.release(other)
    event = fire(revive(waiting))
    hook.revoke("dwh.sales", by="ann", reason="test")
    blocker = hook.try_acquire("dwh.sales")

    assert next_leg(task, waiting, event=event).state == "deferred"
    assert ran == []
    assert [lease.token for lease in hook.leases("dwh.sales")] == [blocker.token]


def test_a_task_resumed_without_an_event_waits_on_with_its_ticket(hook, run):
    """Airflow issue 65248."""
    hook.try_acquire("dwh.sales")
    task = python(print)
    waiting = run(task)
    (place,) = hook.queue("dwh.sales")

    again = run(task, ti_id=waiting.context["ti"].id, next_method="execute", next_kwargs={})

    assert again.state == "deferred"
    assert [waiter.ticket for waiter in hook.queue("dwh.sales")] == [place.ticket]


def test_a_failed_wait_trigger_leaves_the_line(hook, run):
    hook.try_acquire("dwh.sales")
    task = python(print)
    waiting = run(task)

    outcome = run(
        task,
        ti_id=waiting.context["ti"].id,
        next_method="__fail__",
        next_kwargs={"error": "Trigger failure", "traceback": []},
    )

    assert outcome.state == "failed"
    assert hook.queue() == []


def test_a_request_that_can_never_be_granted_fails_with_the_reason_and_holds_nobody_up(hook, run, revive, next_leg):
    """A person lowers the capacity while a task waits for more than that."""
    hook.set_capacity("dwh.sales", 3)
    holders = [hook.try_acquire("dwh.sales", units=3), hook.try_acquire("dwh.orders")]
    too_much = python(print, lock={"name": "dwh.sales", "units": 3})
    other = python(lambda: "done", lock="dwh.orders")
    waiting, waiting_too = run(too_much), run(other)
    hook.set_capacity("dwh.sales", 1)
    for holder in holders:
        hook.release(holder)
    triggers = [revive(waiting), revive(waiting_too)]

    async def both():
        async with asyncio.timeout(20):
            events = await asyncio.gather(*(anext(trigger.run()) for trigger in triggers))
        return [event.payload for event in events]

    events = asyncio.run(both())
    failed = next_leg(too_much, waiting, event=events[0])
    assert failed.state == "failed"
    assert "capacity 1, so 3 units can never be granted" in str(failed.error)
    assert next_leg(other, waiting_too, event=events[1]).pushed() == "done"
    assert hook.queue() == []


def test_a_stale_trigger_makes_no_ghost_lease(hook, run, revive, next_leg):
    other = hook.try_acquire("dwh.sales")
    task = python(print)
    waiting = run(task)
    stale = revive(waiting)
    hook.release(other)
    assert next_leg(task, waiting).state == "success"

    fire(stale)

    assert hook.leases() == []


def test_a_person_who_kills_a_waiting_task_frees_its_place(hook, run, revive, comms):
    hook.try_acquire("dwh.sales")
    trigger = revive(run(python(print)))
    comms.states["load"] = "failed"

    asyncio.run(trigger.on_kill())

    assert hook.queue() == []


def test_a_triggerer_that_wakes_up_late_does_not_take_the_place_away(hook, run, revive, comms):
    """Airflow 3.3.2 calls on_kill() on triggers that another triggerer has taken over; the task is still deferred."""
    hook.try_acquire("dwh.sales")
    trigger = revive(run(python(print)))
    comms.states["load"] = "deferred"

    asyncio.run(trigger.on_kill())

    assert len(hook.queue()) == 1


def test_a_restart_of_the_triggerer_keeps_the_place(hook, run, revive, next_leg):
    other = hook.try_acquire("dwh.sales")
    task = python(lambda: "done")
    waiting = run(task)
    trigger = revive(waiting)

    async def stop_in_the_middle():
        running = asyncio.ensure_future(anext(trigger.run()))
        await asyncio.sleep(0.2)  # it has to be waiting
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await trigger.cleanup()

    asyncio.run(stop_in_the_middle())
    assert len(hook.queue()) == 1
    hook.release(other)
    assert next_leg(task, waiting).pushed() == "done"


def test_the_loop_is_not_blocked_while_the_database_is_slow(hook, run, revive):
    hook.try_acquire("dwh.sales")
    trigger = revive(run(python(print)))
    gaps = []

    async def tick_beside():
        running = asyncio.ensure_future(anext(trigger.run()))
        loop = asyncio.get_running_loop()
        with hook.store.transaction() as connection:
            connection.execute("lock table lockprovider.worker_session in access exclusive mode")
            for _ in range(50):
                start = loop.time()
                await asyncio.sleep(0.01)
                gaps.append(loop.time() - start)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(tick_beside())
    assert max(gaps) < 5, "a call that waits for that lock would take ten seconds"


def test_no_lock_is_held_while_airflow_is_asked(hook, run, revive, monkeypatch):
    """Airflow's answers let other triggers run in the same thread: one that then waits for our lock blocks the loop."""
    from airflow.sdk.definitions.connection import Connection

    from airflow_lockprovider.triggers.coordinator import Coordinator

    hook.try_acquire("dwh.sales")
    trigger = revive(run(python(print)))
    hooks = []
    new_hook = trigger._hook
    monkeypatch.setattr(trigger, "_hook", lambda: hooks.append(new_hook()) or hooks[-1])
    held = []
    plain = Connection.extra_dejson
    monkeypatch.setattr(
        Connection,
        "extra_dejson",
        property(
            lambda self: (
                held.append(Coordinator._making.locked() or any(h._making.locked() for h in hooks)) or plain.fget(self)
            )
        ),
    )

    async def begin():
        running = asyncio.ensure_future(anext(trigger.run()))
        await asyncio.sleep(0.3)  # it has to be waiting
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(begin())
    assert held
    assert not any(held)


def test_all_waiters_of_a_process_share_one_thread(hook, run, revive):
    hook.try_acquire("dwh.sales")
    triggers = [revive(run(python(print), ti_id=uuid.uuid4())) for _ in range(5)]
    of_earlier_tests = set(threading.enumerate())

    async def all_waiting():
        running = [asyncio.ensure_future(anext(trigger.run())) for trigger in triggers]
        await asyncio.sleep(0.3)  # they have to be waiting
        new = set(threading.enumerate()) - of_earlier_tests
        threads = [thread.name for thread in new if thread.name.startswith("lease-waiter")]
        for item in running:
            item.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        return threads

    assert len(asyncio.run(all_waiting())) == 1
