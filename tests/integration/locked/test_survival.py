"""What Airflow and people can do to a locked task between its legs. In a real Airflow: tests/live/test_survival.py."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from datetime import UTC, datetime

import pytest
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.providers.standard.operators.python import BranchPythonOperator, PythonOperator
from airflow.providers.standard.sensors.python import PythonSensor
from airflow.sdk import DAG

from airflow_lockprovider import Lock, LockedOperator, with_lock
from airflow_lockprovider.operators import attempt, mixin
from airflow_lockprovider.triggers import settle
from airflow_lockprovider.triggers.coordinator import Coordinator

from .conftest import fire
from .deferring import NOTES, Defers, Ping


@pytest.fixture(autouse=True)
def _empty_notes():
    NOTES.clear()


def python(callable_=print, lock="dwh.sales", **kwargs):
    with DAG("a_dag", schedule=None):
        return LockedOperator(task_id="load", operator=PythonOperator, python_callable=callable_, lock=lock, **kwargs)


def defers(trigger=None, lock="dwh.sales", **kwargs):
    with DAG("a_dag", schedule=None):
        return LockedOperator(task_id="load", operator=Defers, trigger=trigger or Ping(), lock=lock, **kwargs)


def tokens(hook):
    return [lease.token for lease in hook.leases("dwh.sales")]


def events(hook):
    return [event.event for event in reversed(hook.history("dwh.sales"))]


# An event that fires too fast


@pytest.fixture
def settling(monkeypatch):
    monkeypatch.setattr(settle, "settle_time", lambda: 0.8)
    return 0.8


def took(trigger, expected=None):
    """Seconds until a trigger has fired, or failed."""
    started = time.monotonic()
    if expected is None:
        fire(trigger)
    else:
        with pytest.raises(expected):
            fire(trigger)
    return time.monotonic() - started


def test_a_lock_that_is_free_at_once_wakes_its_waiter_only_after_the_settle_time(hook, run, revive, settling):
    other = hook.try_acquire("dwh.sales")
    trigger = revive(run(python()))
    hook.release(other)

    assert took(trigger) >= settling


def test_a_ticket_that_is_gone_wakes_its_waiter_only_after_the_settle_time(hook, run, revive, settling):
    hook.try_acquire("dwh.sales")
    waiting = run(python())
    (place,) = hook.queue("dwh.sales")
    hook.withdraw(place.ticket, place.owner_id)

    assert took(revive(waiting)) >= settling


@pytest.mark.parametrize(("end", "error"), [("event", None), ("error", ValueError)])
def test_an_operators_own_trigger_that_fires_or_fails_at_once_is_slowed_down(hook, run, revive, settling, end, error):
    assert took(revive(run(defers(Ping(end=end)))), error) >= settling


def test_a_trigger_that_ends_the_task_at_once_is_slowed_down_too(hook, run, revive, settling):
    async def first():
        started = time.monotonic()
        await anext(revive(run(defers(Ping(end="task")))).run())
        return time.monotonic() - started

    assert asyncio.run(first()) >= settling


# One trigger in two triggerers


def test_two_copies_of_a_waiting_trigger_make_one_reservation(hook, run, revive, next_leg, monkeypatch):
    # Each triggerer has a coordinator of its own.
    monkeypatch.setattr(Coordinator, "of", classmethod(lambda cls, hook: cls(hook)))
    other = hook.try_acquire("dwh.sales")
    task = python(lambda: "done")
    waiting = run(task)
    copies = [revive(waiting), revive(waiting)]
    hook.release(other)

    async def both():
        running = [asyncio.ensure_future(anext(copy.run())) for copy in copies]
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        # The other one has asked at the same moment and got the same answer, or looks on for as long as that stands.
        fired, silent = await asyncio.wait(running, timeout=0.5)
        for each in silent:
            each.cancel()
        return [each.result().payload for each in fired]

    events = asyncio.run(both())
    assert [event["__lease__"]["phase"] for event in events] in (["reserved"], ["reserved"] * 2)
    assert len(tokens(hook)) == 1
    assert next_leg(task, waiting, event=events[0]).pushed() == "done"
    assert fire(revive(waiting))["__lease__"]["phase"] == "gone"
    assert tokens(hook) == []


def test_of_two_copies_of_a_keeping_trigger_the_second_does_no_harm_to_the_work_of_the_first(
    hook, run, revive, next_leg, comms
):
    """Another triggerer took it over and its event came first: the task is in a worker when this copy has to end."""
    seen = []

    class Looks(Defers):
        def complete(self, context, event, number):
            asyncio.run(second.on_kill())
            seen.extend(tokens(hook))

    with DAG("a_dag", schedule=None):
        task = LockedOperator(task_id="load", operator=Looks, trigger=Ping(), lock="dwh.sales")
    working = run(task)
    (token,) = tokens(hook)
    first, second = revive(working), revive(working)
    event = fire(first)
    comms.states["load"] = "running"

    assert next_leg(task, working, event=event).state == "success"

    assert seen == [token]
    assert "killed" not in NOTES


def test_a_cleared_task_whose_new_try_is_on_its_way_stops_its_work_and_frees_the_lock(hook, run, revive, comms):
    """To a trigger this looks as above, but no worker has the lease."""
    trigger = revive(run(defers(Ping(seconds=60))))

    async def begin_and_kill():
        running = asyncio.ensure_future(anext(trigger.run()))
        while "started" not in NOTES:
            await asyncio.sleep(0.01)
        while await asyncio.to_thread(hook.has_worker, trigger.owner_id, trigger.tokens):
            await asyncio.sleep(0.01)
        comms.states["load"] = "queued"
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await trigger.on_kill()

    asyncio.run(begin_and_kill())

    assert NOTES[-1] == "killed"
    assert tokens(hook) == []


def test_a_cleared_task_whose_new_try_waits_for_it_stops_its_work_and_lets_it_in(hook, run, revive, comms, next_leg):
    """Airflow then says of the task that it is deferred, as of one that nobody has touched."""
    task = defers(Ping(seconds=60), lock=Lock("dwh.sales", standby="never"))
    trigger = revive(run(task))
    again = run(task, ti_id=uuid.uuid4(), try_number=2)
    assert again.message.classpath.endswith("WaitForLeaseTrigger")
    comms.states["load"] = "deferred"

    asyncio.run(trigger.on_kill())

    assert NOTES[-1] == "killed"
    assert next_leg(task, again).message.classpath.endswith("KeepLeaseTrigger")


def test_a_ticket_that_an_earlier_try_has_left_behind_is_no_newer_try(hook, run, revive, comms):
    hook.enqueue("dwh.sales", owner_id="gone", owner="a_dag/a_run/load#1")
    with hook.store.transaction() as connection:
        connection.execute("update lockprovider.waiter set seen_at = seen_at - interval '1 hour'")
    trigger = revive(run(defers(Ping(seconds=60)), try_number=2))
    comms.states["load"] = "deferred"

    asyncio.run(trigger.on_kill())

    assert "killed" not in NOTES
    assert len(tokens(hook)) == 1


def test_a_new_try_takes_the_ticket_of_the_earlier_one_out_of_the_line(hook, run):
    """It was cleared before its trigger was there: nobody else could know."""
    hook.try_acquire("dwh.sales")
    task = python(lock=Lock("dwh.sales", standby="never"))
    run(task)
    hook.enqueue("dwh.sales", owner_id="somebody", owner="a_dag/another_run/load#1")

    again = run(task, ti_id=uuid.uuid4(), try_number=2)

    assert [waiter.owner_id for waiter in hook.queue("dwh.sales")] == ["somebody", str(again.context["ti"].id)]


@pytest.mark.parametrize("waits", [True, False], ids=["waiting", "deferred by itself"])
def test_a_kill_is_done_to_the_end_though_airflow_cancels_it_again_every_second(
    hook, run, revive, comms, monkeypatch, waits
):
    other = hook.try_acquire("dwh.sales") if waits else None
    trigger = revive(run(python() if waits else defers()))
    comms.states["load"] = "failed"
    monkeypatch.setattr(type(comms), "asend", slow_answer)

    async def cancelled_often():
        killing = asyncio.create_task(trigger.on_kill())
        while not killing.done():
            await asyncio.sleep(0.05)
            killing.cancel()
        await killing

    asyncio.run(cancelled_often())

    assert hook.queue() == []
    assert tokens(hook) == ([other.token] if other else [])
    assert waits or NOTES[-1] == "killed"


async def slow_answer(self, msg):
    await asyncio.sleep(0.5)
    return self.send(msg)


@pytest.mark.parametrize("state", ["failed", "success", "up_for_retry", None])
def test_whatever_a_person_makes_of_a_deferred_task_its_work_is_stopped_and_the_lock_is_free(
    hook, run, revive, comms, state
):
    trigger = revive(run(defers()))
    comms.states["load"] = state

    asyncio.run(trigger.on_kill())

    assert NOTES == ["execute", "killed"]
    assert tokens(hook) == []


def test_when_its_dag_is_gone_a_waiting_task_leaves_the_line(hook, run, revive, comms, monkeypatch):
    from airflow.sdk.execution_time.comms import TaskStatesResult

    hook.try_acquire("dwh.sales")
    trigger = revive(run(python()))
    monkeypatch.setattr(type(comms), "send", lambda self, msg: TaskStatesResult(task_states={}))

    asyncio.run(trigger.on_kill())

    assert hook.queue() == []


def test_a_waiter_whose_trigger_has_gone_does_not_block_the_line_of_its_triggerer(
    hook, run, revive, next_leg, monkeypatch
):
    """It was cleared, say, and Airflow called its new try "deferred", so nobody gave its place up."""
    monkeypatch.setenv("AIRFLOW__LOCKPROVIDER__SKIP_AFTER", "1")
    other = hook.try_acquire("dwh.sales")
    first, second = revive(run(python())), revive(run(python()))

    async def both():
        running = [asyncio.ensure_future(anext(trigger.run())) for trigger in (first, second)]
        while len([waiter for waiter in await asyncio.to_thread(hook.queue, "dwh.sales") if waiter.waited > 0.3]) < 2:
            await asyncio.sleep(0.05)
        running[0].cancel()
        await asyncio.to_thread(hook.release, other)
        async with asyncio.timeout(15):
            return (await running[1]).payload

    assert asyncio.run(both())["__lease__"]["phase"] == "reserved"


# Legs that come back


def test_a_deferred_task_resumed_without_its_event_fails_as_without_a_lock_and_gives_the_lock_back(hook, run):
    """Airflow issue 65248."""
    task = defers()
    working = run(task)

    outcome = run(task, ti_id=working.context["ti"].id, next_method="complete", next_kwargs=working.message.next_kwargs)

    assert outcome.state == "failed"
    assert isinstance(outcome.error, TypeError)
    assert events(hook) == ["granted", "released"]


def test_a_rescheduled_sensor_takes_the_lock_anew_at_each_poke_with_a_larger_token(hook, run):
    pokes = iter([False, True])
    with DAG("a_dag", schedule=None):
        sensor = LockedOperator(
            task_id="until",
            operator=PythonSensor,
            python_callable=lambda: next(pokes),
            mode="reschedule",
            lock="dwh.sales",
        )
    ti_id = uuid.uuid4()

    assert run(sensor, ti_id=ti_id).state == "up_for_reschedule"
    assert tokens(hook) == []
    between = hook.try_acquire("dwh.sales")
    hook.release(between)
    assert run(sensor, ti_id=ti_id).state == "success"

    granted = [event.token for event in reversed(hook.history("dwh.sales")) if event.event == "granted"]
    assert granted == sorted(set(granted))
    assert len(granted) == 3


def test_a_rescheduled_sensor_waits_in_line_if_the_lock_is_taken_when_it_comes_back(hook, run, next_leg):
    pokes = iter([False, True])
    with DAG("a_dag", schedule=None):
        sensor = LockedOperator(
            task_id="until",
            operator=PythonSensor,
            python_callable=lambda: next(pokes),
            mode="reschedule",
            lock=Lock("dwh.sales", standby="never"),
        )
    ti_id = uuid.uuid4()
    run(sensor, ti_id=ti_id)
    between = hook.try_acquire("dwh.sales")
    waiting = run(sensor, ti_id=ti_id)
    assert waiting.state == "deferred"
    hook.release(between)

    assert next_leg(sensor, waiting).state == "success"


@pytest.mark.parametrize("taken", [False, True], ids=["lock free", "lock taken when the answer comes"])
def test_a_task_that_asks_a_person_has_no_lock_meanwhile_and_gets_its_answer_under_one(
    hook, run, next_leg, monkeypatch, taken
):
    monkeypatch.setattr("airflow.providers.standard.operators.hitl.upsert_hitl_detail", lambda **_: None)
    with DAG("a_dag", schedule=None):
        asks = LockedOperator(
            task_id="asks", operator=HITLOperator, subject="go on?", options=["yes", "no"], lock="dwh.sales"
        )
    parked = run(asks)
    assert parked.state == "awaiting_input"
    assert tokens(hook) == []
    other = hook.try_acquire("dwh.sales") if taken else None
    answer = {"chosen_options": ["yes"], "params_input": {}, "responded_at": datetime.now(UTC)}
    answer |= {"responded_by_user": {"id": "ann", "name": "Ann"}, "timedout": False}

    outcome = run(
        asks,
        ti_id=parked.context["ti"].id,
        next_method=parked.message.next_method,
        next_kwargs={"event": answer},
    )
    if other:
        assert outcome.state == "deferred"
        hook.release(other)
        outcome = next_leg(asks, outcome)

    assert outcome.state == "success", outcome.error
    assert outcome.pushed()["chosen_options"] == ["yes"]
    assert tokens(hook) == []


def test_a_branch_keeps_its_meaning_under_a_lock(hook, run):
    with DAG("a_dag", schedule=None):
        branch = LockedOperator(
            task_id="branch", operator=BranchPythonOperator, python_callable=lambda: "this", lock="dwh.sales"
        )
        branch >> [PythonOperator(task_id=name, python_callable=print) for name in ("this", "that")]

    outcome = run(branch)

    assert outcome.state == "success"
    (skipped,) = [message.tasks for message in outcome.sent if type(message).__name__ == "SkipDownstreamTasks"]
    assert [task_id for task_id, _ in skipped] == ["that"]
    assert tokens(hook) == []


def test_a_setup_and_a_teardown_stay_what_they_are(hook, run):
    with DAG("a_dag", schedule=None):
        begin, end = (PythonOperator(task_id=task_id, python_callable=print) for task_id in ("begin", "end"))
        end.as_teardown(setups=begin)
        with_lock(begin, "dwh.sales")
        with_lock(end, "dwh.sales")

    assert (begin.is_setup, end.is_teardown) == (True, True)
    assert run(begin).state == run(end).state == "success"
    assert events(hook) == ["granted", "released"] * 2


# What the task's log says


def test_the_log_has_one_line_each_for_waiting_being_granted_and_giving_back(hook, run, next_leg, caplog, monkeypatch):
    log = logging.getLogger("the task's")
    plain = attempt.Attempt
    for place in (attempt, mixin):
        monkeypatch.setattr(place, "Attempt", lambda wanted, ti, _log: plain(wanted, ti, log), raising=False)
    first = hook.try_acquire("dwh.sales", owner="nightly/r1/load#1")
    hook.enqueue("dwh.sales", owner_id="somebody")
    task = python(lock=Lock("dwh.sales", standby="never"))
    with caplog.at_level("INFO"):
        waiting = run(task)
        hook.release(first)
        for waiter in hook.queue("dwh.sales"):
            if waiter.owner_id == "somebody":
                hook.withdraw(waiter.ticket, "somebody")
        outcome = next_leg(task, waiting)
    assert outcome.state == "success"

    lines = [record.getMessage() for record in caplog.records if "lock 'dwh.sales'" in record.getMessage()]
    (granted,) = [event for event in hook.history("dwh.sales") if event.event == "confirmed"]
    (waits,) = [line for line in lines if "waiting as number" in line]
    assert f"held by nightly/r1/load#1 since {first.created_at:%Y-%m-%d %H:%M}" in waits
    assert "waiting as number 2 in line (ticket" in waits
    (ours,) = [line for line in lines if " ours" in line]
    assert ours.startswith(f"lock 'dwh.sales' (token {granted.token}) is ours, waited ")
    (given_back,) = [line for line in lines if "released" in line]
    assert given_back.startswith(f"lock 'dwh.sales' released: token {granted.token}, held ")
