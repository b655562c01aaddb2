"""A locked operator that defers itself keeps its lease in the triggerer."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk import DAG
from airflow.triggers.base import BaseTaskEndEvent

from airflow_lockprovider import LockedOperator
from airflow_lockprovider.exceptions import LeaseLost
from airflow_lockprovider.triggers import keeping

from .conftest import fire
from .deferring import NOTES, Deaf, Defers, Ping


@pytest.fixture(autouse=True)
def _empty_notes():
    NOTES.clear()


def defers(trigger=None, lock="dwh.sales", **kwargs):
    with DAG("a_dag", schedule=None):
        return LockedOperator(task_id="load", operator=Defers, trigger=trigger or Ping(), lock=lock, **kwargs)


def events(hook):
    return [event.event for event in reversed(hook.history("dwh.sales"))]


def expire(hook):
    with hook.store.transaction() as connection:
        connection.execute("update lockprovider.lease set expires_at = clock_timestamp()")


def during(trigger, then, timeout=20):
    """Run a trigger; call ``then`` when its inner trigger runs; return the payload, or None if it ended without."""

    async def run():
        async with asyncio.timeout(timeout):
            events = trigger.run()
            first = asyncio.ensure_future(anext(events, None))
            while "started" not in NOTES and not first.done():
                await asyncio.sleep(0.01)
            await asyncio.to_thread(then)
            event = await first
            return event and event.payload

    return asyncio.run(run())


def test_the_lease_is_kept_through_the_operators_own_deferral(hook, run, next_leg):
    task = defers()
    first = run(task)

    assert first.state == "deferred"
    (lease,) = hook.leases("dwh.sales")
    assert lease.owner_id == str(first.context["ti"].id)

    outcome = next_leg(task, first)

    assert outcome.state == "success"
    assert NOTES == ["execute", "started", "complete 1"]
    assert events(hook) == ["granted", "released"]


def test_the_inner_trigger_gets_its_own_arguments_and_the_operator_its_own_event(hook, run, next_leg):
    task = defers(Ping(at=datetime(2026, 1, 31, 12, tzinfo=UTC), pause=timedelta(minutes=3)))

    outcome = next_leg(task, run(task))

    assert outcome.pushed() == {"type of at": "datetime", "pause": "0:03:00"}


def test_no_lease_state_travels_in_next_kwargs(run, hook):
    assert run(defers()).message.next_kwargs == {"number": 1}


def test_several_deferrals_in_a_row_are_one_lease(hook, run, next_leg):
    task = defers(times=3)
    outcome = run(task)
    for _ in range(2):
        outcome = next_leg(task, outcome)
        assert outcome.state == "deferred"
    assert next_leg(task, outcome).state == "success"
    assert events(hook) == ["granted", "released"]


def test_a_task_that_waited_keeps_its_lease_through_its_own_deferral_too(hook, run, next_leg):
    other = hook.try_acquire("dwh.sales")
    task = defers()
    waiting = run(task)
    assert NOTES == []
    hook.release(other)

    working = next_leg(task, waiting)
    assert working.message.classpath.endswith("KeepLeaseTrigger")
    assert next_leg(task, working).state == "success"
    assert hook.leases() == []


def test_the_triggerer_renews_the_lease(hook, run, revive):
    trigger = revive(run(defers(Ping(seconds=60))))
    (before,) = hook.leases("dwh.sales")
    later = []

    async def watch():
        running = asyncio.ensure_future(anext(trigger.run()))
        async with asyncio.timeout(20):
            while not later or later[-1].expires_at <= before.expires_at:
                await asyncio.sleep(0.05)
                later[:] = await asyncio.to_thread(hook.leases, "dwh.sales")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(watch())
    assert later[0].token == before.token


def test_a_lease_revoked_while_deferred_stops_the_external_work_and_fails_the_task(hook, run, revive, next_leg):
    task = defers(Ping(seconds=60), lock={"name": "dwh.sales", "ttl": 2})
    working = run(task)

    event = during(revive(working), lambda: hook.revoke("dwh.sales", "ann", "stuck"))
    assert NOTES == ["execute", "started", "cancelled", "killed"]

    outcome = next_leg(task, working, event=event)
    assert outcome.state == "failed"
    assert isinstance(outcome.error, LeaseLost)
    assert "revoked" in str(outcome.error)
    assert "complete 1" not in NOTES


def test_a_lease_that_ended_before_the_worker_came_fails_the_task_and_its_method_does_not_run(
    hook, run, revive, next_leg
):
    task = defers()
    working = run(task)
    event = fire(revive(working))
    expire(hook)

    outcome = next_leg(task, working, event=event)

    assert outcome.state == "failed"
    assert isinstance(outcome.error, LeaseLost)
    assert NOTES == ["execute", "started"]


def test_a_lease_that_somebody_else_has_got_meanwhile_is_not_taken_back(hook, run, revive, next_leg):
    task = defers()
    working = run(task)
    event = fire(revive(working))
    expire(hook)
    successor = hook.try_acquire("dwh.sales")
    assert successor

    assert next_leg(task, working, event=event).state == "failed"
    assert [lease.token for lease in hook.leases("dwh.sales")] == [successor.token]


def test_a_failed_inner_trigger_fails_the_task_and_gives_the_lease_back(hook, run, revive):
    task = defers(Ping(end="error"))
    working = run(task)
    with pytest.raises(ValueError, match="boom in the trigger"):
        fire(revive(working))
    assert len(hook.leases()) == 1

    outcome = run(
        task,
        ti_id=working.context["ti"].id,
        next_method="__fail__",
        next_kwargs={"error": "Trigger failure", "traceback": ["boom"]},
    )

    assert outcome.state == "failed"
    assert hook.leases() == []
    assert events(hook) == ["granted", "released"]


def test_a_trigger_that_ends_the_task_itself_gives_the_lease_back_first(hook, run, revive):
    working = run(defers(Ping(end="task")))

    async def first():
        event = await anext(revive(working).run())
        return event, hook.leases()

    event, left = asyncio.run(first())
    assert isinstance(event, BaseTaskEndEvent)
    assert left == []


def test_a_person_who_kills_a_deferred_task_stops_its_work_and_frees_the_lock(hook, run, revive, comms):
    trigger = revive(run(defers()))
    comms.states["load"] = "failed"

    asyncio.run(trigger.on_kill())

    assert NOTES == ["execute", "killed"]
    assert hook.leases() == []


def test_work_that_cannot_be_stopped_keeps_the_lock_until_its_lease_expires(hook, run, revive, comms):
    trigger = revive(run(defers(Deaf())))
    comms.states["load"] = "failed"

    asyncio.run(trigger.on_kill())

    assert len(hook.leases()) == 1


def test_a_triggerer_that_wakes_up_late_neither_stops_the_work_nor_frees_the_lock(hook, run, revive, comms):
    trigger = revive(run(defers()))
    comms.states["load"] = "deferred"

    asyncio.run(trigger.on_kill())

    assert NOTES == ["execute"]
    assert len(hook.leases()) == 1


def test_a_restart_of_the_triggerer_keeps_the_lease(hook, run, revive, next_leg):
    task = defers(Ping(seconds=0.3))
    working = run(task)
    trigger = revive(working)

    async def stop_in_the_middle():
        running = asyncio.ensure_future(anext(trigger.run()))
        while "started" not in NOTES:
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await trigger.cleanup()

    asyncio.run(stop_in_the_middle())
    assert NOTES == ["execute", "started", "cancelled", "cleaned up"]
    assert len(hook.leases()) == 1
    assert next_leg(task, working).state == "success"


def test_a_stale_trigger_whose_worker_has_given_the_lease_back_ends_quietly(hook, run, revive, monkeypatch):
    monkeypatch.setattr(keeping, "_LAST", 0.0)
    trigger = revive(run(defers(Ping(seconds=60), lock={"name": "dwh.sales", "ttl": 2})))
    (lease,) = hook.leases("dwh.sales")

    assert during(trigger, lambda: hook.release(lease)) is None
    assert "killed" not in NOTES


def test_the_work_of_a_stale_trigger_is_stopped_if_airflow_says_so_and_nobody_elses_lock_is_touched(
    hook, run, revive, comms, monkeypatch
):
    """Its task was woken without an event, and failed."""
    monkeypatch.setattr(keeping, "_LAST", 0.0)
    trigger = revive(run(defers(Ping(seconds=60), lock={"name": "dwh.sales", "ttl": 2})))
    (lease,) = hook.leases("dwh.sales")
    during(trigger, lambda: hook.release(lease))
    successor = hook.try_acquire("dwh.sales")
    comms.states["load"] = "failed"

    asyncio.run(trigger.on_kill())

    assert NOTES[-1] == "killed"
    assert [lease.token for lease in hook.leases("dwh.sales")] == [successor.token]


def test_a_retry_does_not_inherit_the_lease_of_the_attempt_before(hook, run):
    task = defers()
    first = run(task)
    (lease,) = hook.leases("dwh.sales")

    again = run(task, ti_id=uuid.uuid4())

    assert again.state == "deferred"
    assert again.message.classpath.endswith("WaitForLeaseTrigger")
    assert [held.owner_id for held in hook.leases("dwh.sales")] == [str(first.context["ti"].id)] == [lease.owner_id]


def test_a_task_that_is_told_to_stop_before_it_begins_gives_the_lease_back(hook, run, revive, next_leg):
    task = defers()
    working = run(task)
    event = fire(revive(working))
    task.on_kill()  # the task runner's, on SIGTERM

    outcome = next_leg(task, working, event=event)

    assert outcome.state == "failed"
    assert hook.leases() == []
