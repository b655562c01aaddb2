"""A task with several locks: one place in line, all of them or none."""

from __future__ import annotations

import asyncio
import json
import os
import time

import pytest
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG

from airflow_lockprovider import Lock, LockedOperator
from airflow_lockprovider.exceptions import LeaseLost, LeaseWaitTimeout
from airflow_lockprovider.notifications.lock_trace import lock_facts

from .conftest import fire
from .deferring import NOTES, Defers, Ping

BOTH = ["dwh.orders", Lock("dwh.sales")]


@pytest.fixture(autouse=True)
def _empty_notes():
    NOTES.clear()


def python(callable_, lock=BOTH, **kwargs):
    with DAG("a_dag", schedule=None):
        return LockedOperator(task_id="load", operator=PythonOperator, python_callable=callable_, lock=lock, **kwargs)


def defers(trigger=None, lock=BOTH, **kwargs):
    with DAG("a_dag", schedule=None):
        return LockedOperator(task_id="load", operator=Defers, trigger=trigger or Ping(), lock=lock, **kwargs)


def held(hook):
    return [lease.lock_name for lease in hook.leases()]


def expire(hook, lock):
    with hook.store.transaction() as connection:
        connection.execute("update lockprovider.lease set expires_at = clock_timestamp() where lock_name = %s", [lock])


def test_all_locks_are_held_while_the_body_runs_and_given_back_afterwards(hook, run):
    seen = []
    outcome = run(python(lambda: seen.extend(hook.leases())))

    assert outcome.state == "success"
    assert [lease.lock_name for lease in seen] == ["dwh.orders", "dwh.sales"]
    assert {lease.owner_id for lease in seen} == {str(outcome.context["ti"].id)}
    assert held(hook) == []


def test_templates_see_the_token_of_each_lock_and_a_guard_for_all(hook, run):
    with DAG("a_dag", schedule=None):
        echo = LockedOperator(
            task_id="echo",
            operator=BashOperator,
            lock=["dwh.orders", "dwh.{{ dag.dag_id }}"],
            bash_command='echo \'{{ lease["dwh.orders"].token }} {{ lease.tokens["dwh.a_dag"] }}'
            " {{ lease.guard | replace(\"'\", '') }}'",
        )

    outcome = run(echo)

    orders, a_dag = (hook.history(name)[-1].token for name in ("dwh.orders", "dwh.a_dag"))
    guards = f"lockprovider.guard(dwh.a_dag, {a_dag}), lockprovider.guard(dwh.orders, {orders})"
    assert outcome.pushed() == f"{orders} {a_dag} select {guards}"
    assert outcome.rendered()["lock_name"] == ["dwh.orders", "dwh.a_dag"]
    assert str(orders) in str(outcome.rendered()["bash_command"])


def test_child_processes_see_all_tokens_and_no_single_one(hook, run, monkeypatch):
    monkeypatch.setenv("AIRFLOW_LEASE_TOKEN", "of somebody else")
    seen = {}
    run(python(lambda: seen.update(os.environ)))

    assert set(json.loads(seen["AIRFLOW_LEASES"])) == {"dwh.orders", "dwh.sales"}
    assert "AIRFLOW_LEASE_TOKEN" not in seen
    assert os.environ["AIRFLOW_LEASE_TOKEN"] == "of somebody else"


def test_one_lock_that_is_taken_keeps_the_task_out_and_the_others_free(hook, run):
    hook.try_acquire("dwh.sales", owner="somebody")

    assert run(python(print)).state == "deferred"
    assert held(hook) == ["dwh.sales"]
    assert [waiter.lock_name for waiter in hook.queue()] == ["dwh.orders", "dwh.sales"]


def test_a_task_waits_for_all_with_one_ticket_and_runs_when_all_are_free(hook, run, revive, next_leg):
    others = [hook.try_acquire("dwh.orders"), hook.try_acquire("dwh.sales")]
    task = python(lambda: sorted(held(hook)))
    waiting = run(task)
    assert len({waiter.ticket for waiter in hook.queue()}) == 1
    hook.release(others[0])
    with pytest.raises(TimeoutError):
        fire(revive(waiting), timeout=0.5)
    hook.release(others[1])

    outcome = next_leg(task, waiting)

    assert outcome.pushed() == ["dwh.orders", "dwh.sales"]
    assert held(hook) == []
    assert hook.queue() == []


def test_the_error_of_a_wait_that_took_too_long_names_all_locks_and_who_holds_them(hook, run, next_leg):
    hook.try_acquire("dwh.sales", owner="somebody")
    task = python(print, lock=["dwh.orders", Lock("dwh.sales", wait_timeout=0.3)])

    outcome = next_leg(task, run(task))

    assert isinstance(outcome.error, LeaseWaitTimeout)
    assert "locks 'dwh.orders', 'dwh.sales' were not free" in str(outcome.error)
    assert "somebody ('dwh.sales', token" in str(outcome.error)
    assert hook.queue() == []


@pytest.mark.parametrize(("on_busy", "state"), [("skip", "skipped"), ("fail", "failed")])
def test_on_busy_of_one_lock_is_that_of_the_task(hook, run, on_busy, state):
    hook.try_acquire("dwh.orders")
    outcome = run(python(print, lock=["dwh.orders", Lock("dwh.sales", on_busy=on_busy)]))

    assert outcome.state == state
    assert hook.queue() == []


def test_two_templates_that_render_to_one_name_fail_the_task_before_it_takes_anything(hook, run):
    ran = []
    outcome = run(python(lambda: ran.append(1), lock=["dwh.sales", "dwh.{{ params.get('table', 'sales') }}"]))

    assert "'dwh.sales' is named twice" in str(outcome.error)
    assert (ran, hook.history()) == ([], [])


def test_a_lock_that_is_switched_off_is_left_out(hook, run):
    hook.try_acquire("dwh.sales")
    seen = []
    task = python(lambda: seen.extend(held(hook)), lock=["dwh.orders", {"name": "dwh.sales", "lock_status": "disable"}])

    assert run(task).state == "success"
    assert "dwh.orders" in seen


def test_all_are_kept_through_the_operators_own_deferral(hook, run, next_leg):
    task = defers()
    working = run(task)
    assert len(held(hook)) == 2

    assert next_leg(task, working).state == "success"
    assert held(hook) == []
    for name in ("dwh.orders", "dwh.sales"):
        assert [event.event for event in reversed(hook.history(name))] == ["granted", "released"]


def test_the_triggerer_renews_all_of_them(hook, run, revive):
    trigger = revive(run(defers(Ping(seconds=60))))
    before = {lease.lock_name: lease.expires_at for lease in hook.leases()}
    later = {}

    async def watch():
        running = asyncio.ensure_future(anext(trigger.run()))
        async with asyncio.timeout(20):
            while not later or any(later[name] <= before[name] for name in before):
                await asyncio.sleep(0.05)
                later.update({lease.lock_name: lease.expires_at for lease in await asyncio.to_thread(hook.leases)})
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(watch())
    assert set(later) == {"dwh.orders", "dwh.sales"}


def test_the_loss_of_one_while_deferred_stops_the_work_and_gives_the_others_back(hook, run, revive, next_leg):
    task = defers(Ping(seconds=60), lock=[Lock("dwh.orders", ttl=2), "dwh.sales"])
    working = run(task)
    trigger = revive(working)

    async def lose_one():
        async with asyncio.timeout(20):
            first = asyncio.ensure_future(anext(trigger.run()))
            while "started" not in NOTES:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(hook.revoke, "dwh.sales", "ann", "stuck")
            return (await first).payload

    event = asyncio.run(lose_one())
    assert NOTES == ["execute", "started", "cancelled", "killed"]
    outcome = next_leg(task, working, event=event)

    assert isinstance(outcome.error, LeaseLost)
    assert "'dwh.sales': " in str(outcome.error)
    assert "revoked" in str(outcome.error)
    assert held(hook) == []


@pytest.mark.parametrize("event_comes", [True, False], ids=["with its event", "without an event"])
def test_the_loss_of_one_before_the_worker_came_fails_the_task_and_gives_the_others_back(
    hook, run, revive, next_leg, event_comes
):
    task = defers()
    working = run(task)
    event = fire(revive(working)) if event_comes else {}
    expire(hook, "dwh.orders")

    outcome = next_leg(task, working, event=event)

    assert isinstance(outcome.error, LeaseLost)
    assert "'dwh.orders'" in str(outcome.error)
    assert "complete 1" not in NOTES
    assert held(hook) == []


def test_the_loss_of_one_while_the_body_runs_interrupts_it_and_gives_the_others_back(hook, run):
    def body():
        hook.revoke("dwh.sales", by="ann", reason="stuck")
        time.sleep(30)

    outcome = run(python(body, lock=[Lock("dwh.orders", ttl=1), "dwh.sales"]))

    assert isinstance(outcome.error, LeaseLost)
    assert "'dwh.sales'" in str(outcome.error)
    assert held(hook) == []


def test_a_person_who_kills_the_deferred_task_frees_all(hook, run, revive, comms):
    trigger = revive(run(defers()))
    comms.states["load"] = "failed"

    asyncio.run(trigger.on_kill())

    assert held(hook) == []


def test_a_trigger_that_ends_the_task_itself_gives_all_back(hook, run, revive):
    working = run(defers(Ping(end="task")))

    async def first():
        await anext(revive(working).run())
        return held(hook)

    assert asyncio.run(first()) == []


def test_a_failed_inner_trigger_gives_all_back(hook, run):
    task = defers(Ping(end="error"))
    working = run(task)

    outcome = run(
        task,
        ti_id=working.context["ti"].id,
        next_method="__fail__",
        next_kwargs={"error": "Trigger failure", "traceback": ["boom"]},
    )

    assert outcome.state == "failed"
    assert held(hook) == []


def test_an_alert_tells_of_the_lock_that_was_lost(hook, run):
    def body():
        hook.revoke("dwh.sales", by="ann", reason="stuck")
        time.sleep(30)

    task = python(body, lock=[Lock("dwh.orders", ttl=1), "dwh.sales"])
    outcome = run(task)

    facts = lock_facts(task, outcome.context["ti"], outcome.error)
    assert facts is not None
    assert facts.as_detail()["name"] == "dwh.sales"


def test_an_alert_of_another_failure_tells_of_the_first_lock(hook, run):
    task = python(lambda: 1 / 0)
    outcome = run(task)

    facts = lock_facts(task, outcome.context["ti"], outcome.error)
    assert facts is not None
    assert facts.as_detail()["name"] == "dwh.orders"


def test_a_dag_with_several_locks_serialises_the_same_every_time():
    from airflow.serialization.serialized_objects import DagSerialization

    def parsed():
        with DAG("a_dag", schedule=None) as dag:
            LockedOperator(task_id="one", operator=BashOperator, lock=BOTH, bash_command="true")
            LockedOperator[BashOperator].partial(task_id="many", lock=BOTH).expand(bash_command=["a", "b"])
        return json.loads(json.dumps(DagSerialization.to_dict(dag)))

    first, second = parsed(), parsed()
    assert first == second
    names = [task["__var"].get("lock_name") for task in first["dag"]["tasks"]]
    assert ["dwh.orders", "dwh.sales"] in names
