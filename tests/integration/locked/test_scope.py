"""Tasks under the lease of a scope, in the real task runner; the keeper as a triggerer runs it."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG
from airflow.triggers.base import TaskFailedEvent, TaskSuccessEvent

from airflow_lockprovider import lock_scope
from airflow_lockprovider.exceptions import LeaseLost, StoreUnavailable
from airflow_lockprovider.hooks.lease import LeaseHook
from airflow_lockprovider.triggers import scope as keeping
from airflow_lockprovider.triggers.scope import KeepScopeTrigger

from .conftest import Comms, fire
from .deferring import NOTES, Defers, Ping

ACQUIRE, KEEP, RELEASE = "sales.acquire_lock", "sales.keep_lock", "sales.release_lock"


@dataclass
class Airflow(Comms):
    """Keeps XComs and knows the states of a run."""

    run_state: str = "running"
    run_is_known: bool = True
    xcoms: dict[tuple[str, int], Any] = field(default_factory=dict)

    def send(self, msg: Any) -> Any:
        from airflow.sdk.execution_time.comms import DagRunStateResult, TaskStatesResult, XComResult

        kind = type(msg).__name__
        if kind == "SetXCom" and msg.key == "return_value":
            self.xcoms[msg.task_id, -1 if msg.map_index is None else msg.map_index] = msg.value
        elif kind == "GetXCom":
            self.sent.append(msg)
            return XComResult(key=msg.key, value=self.xcoms.get((msg.task_id, msg.map_index)))
        elif kind == "GetTaskStates":
            states = {k: v for k, v in self.states.items() if msg.task_ids is None or k in msg.task_ids}
            return TaskStatesResult(task_states={msg.run_ids[0]: states} if self.run_is_known else {})
        elif kind == "GetDagRunState":
            return DagRunStateResult(state=self.run_state)
        return super().send(msg)


@pytest.fixture
def comms(monkeypatch):
    from airflow.sdk.execution_time import task_runner

    stand_in = Airflow()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", stand_in, raising=False)
    return stand_in


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    NOTES.clear()
    monkeypatch.setattr(keeping, "LOOK", 0.1)
    monkeypatch.setattr(keeping, "ASK", 0.2)
    monkeypatch.setattr(keeping, "PATIENCE", 0.0)


@pytest.fixture
def bodies():
    """What the members' bodies have seen."""
    return []


@pytest.fixture
def dag(bodies):
    with DAG("a_dag", schedule=None) as dag, lock_scope("dwh.{{ run_id }}", group_id="sales"):
        PythonOperator(task_id="a", python_callable=lambda lease: bodies.append(lease.token))
        PythonOperator(task_id="b", python_callable=lambda lease: bodies.append(lease.token))
        BashOperator(task_id="c", bash_command='echo "{{ lease.token }} $AIRFLOW_LEASE_TOKEN"')
        Defers(task_id="d", trigger=Ping(seconds=0.2))
    return dag


@pytest.fixture
def acquired(dag, run, hook):
    """The scope holds its lease."""
    outcome = run(dag.get_task(ACQUIRE))
    assert outcome.state == "success", outcome.error
    (lease,) = hook.leases("dwh.a_run")
    return lease


def events(hook):
    return [event.event for event in reversed(hook.history("dwh.a_run"))]


def expire(hook):
    with hook.store.transaction() as connection:
        connection.execute("update lockprovider.lease set expires_at = clock_timestamp()")


def keeper(dag, **given):
    task = dag.get_task(KEEP)
    trigger = KeepScopeTrigger(**{**task.start_trigger_args.trigger_kwargs, **given})
    trigger.task_instance = SimpleNamespace(dag_id="a_dag", run_id="a_run", task_id=KEEP, map_index=-1)
    return trigger


def ending(trigger, then=None, wait=None):
    """Run a keeper to its end: its event. ``then`` is called when it is at work, ``wait`` until it says True."""

    async def run():
        async with asyncio.timeout(20):
            first = asyncio.ensure_future(anext(trigger.run()))
            await asyncio.sleep(0.3)
            while wait and not await asyncio.to_thread(wait):
                await asyncio.sleep(0.05)
            if then:
                assert not first.done(), first
                await asyncio.to_thread(then)
            return await first

    return asyncio.run(run())


def killed(trigger):
    """Let a keeper work, and then be told that its task is no longer deferred, as a triggerer does."""

    async def run():
        running = asyncio.ensure_future(anext(trigger.run()))
        await asyncio.sleep(0.3)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await trigger.on_kill()

    asyncio.run(run())


# Members


def test_all_members_work_under_the_one_lease_also_at_the_same_time(dag, run, hook, acquired, bodies):
    for task_id in ("sales.a", "sales.b"):
        assert run(dag.get_task(task_id)).state == "success"
    assert bodies == [acquired.token, acquired.token]
    assert run(dag.get_task("sales.c")).pushed() == f"{acquired.token} {acquired.token}"
    assert [lease.token for lease in hook.leases()] == [acquired.token]
    assert events(hook) == ["granted"]


def test_a_member_that_fails_does_not_give_the_scopes_lease_back(run, hook):
    with DAG("a_dag", schedule=None) as dag, lock_scope("dwh.sales", group_id="sales"):
        fails = BashOperator(task_id="fails", bash_command="exit 1")
    run(dag.get_task(ACQUIRE))
    assert run(fails).state == "failed"
    assert len(hook.leases("dwh.sales")) == 1


def test_the_last_task_gives_the_lease_back(dag, run, hook, acquired):
    assert run(dag.get_task(RELEASE)).state == "success"
    assert hook.leases() == []
    assert events(hook) == ["granted", "released"]


def test_a_release_without_a_lease_is_no_failure(dag, run, hook, acquired):
    hook.release(acquired)
    assert run(dag.get_task(RELEASE)).state == "success"


def test_a_release_that_the_database_does_not_answer_fails_so_that_it_is_tried_again(dag, run, acquired, monkeypatch):
    def unavailable(*_):
        raise StoreUnavailable("no answer")

    monkeypatch.setattr(LeaseHook, "release", unavailable)
    assert run(dag.get_task(RELEASE), should_retry=True).state == "up_for_retry"


def test_the_scope_waits_for_its_lock_in_line_as_any_locked_task(dag, run, hook, next_leg):
    other = hook.try_acquire("dwh.a_run")
    acquire = dag.get_task(ACQUIRE)
    waiting = run(acquire)
    assert waiting.message.classpath.endswith("WaitForLeaseTrigger")
    hook.release(other)

    assert next_leg(acquire, waiting).state == "success"
    (lease,) = hook.leases("dwh.a_run")
    assert lease.state == "held"


def test_a_member_that_runs_alone_after_the_scope_takes_the_lock_itself(dag, run, hook, acquired, bodies):
    run(dag.get_task(RELEASE))
    outcome = run(dag.get_task("sales.a"))

    assert outcome.state == "success"
    assert bodies[0] > acquired.token
    assert events(hook) == ["granted", "released"] * 2


def test_a_member_that_runs_alone_waits_while_somebody_else_has_the_lock(dag, run, hook, acquired, bodies):
    run(dag.get_task(RELEASE))
    hook.try_acquire("dwh.a_run")
    outcome = run(dag.get_task("sales.a"))

    assert outcome.message.classpath.endswith("WaitForLeaseTrigger")
    assert bodies == []


def test_a_member_of_a_run_in_which_no_lock_was_ever_taken_takes_it_itself(dag, run, hook, bodies):
    assert run(dag.get_task("sales.a")).state == "success"
    assert len(bodies) == 1
    assert hook.leases() == []


def test_two_members_that_run_alone_do_not_work_at_the_same_time(dag, run, hook, acquired, bodies):
    run(dag.get_task(RELEASE))
    other_member = hook.try_acquire("dwh.a_run", context={"task_id": "sales.b", "dag_id": "a_dag", "run_id": "a_run"})
    assert other_member
    assert run(dag.get_task("sales.a")).state == "deferred"
    assert bodies == []


@pytest.mark.parametrize("how", ["expired", "revoked"])
def test_a_member_does_not_begin_when_the_lease_was_lost_in_the_middle_of_the_scope(
    dag, run, hook, comms, acquired, bodies, how
):
    comms.states[RELEASE] = None
    expire(hook) if how == "expired" else hook.revoke("dwh.a_run", "ann", "stuck")
    outcome = run(dag.get_task("sales.a"))

    assert outcome.state == "failed"
    assert isinstance(outcome.error, LeaseLost)
    assert how in str(outcome.error)
    assert "clear 'sales.acquire_lock'" in str(outcome.error)
    assert bodies == []


def test_a_lease_that_was_lost_is_no_obstacle_when_the_scope_is_over(dag, run, hook, comms, acquired, bodies):
    expire(hook)
    comms.states[RELEASE] = "success"
    assert run(dag.get_task("sales.a")).state == "success"
    assert bodies[0] > acquired.token


def test_a_member_does_not_begin_when_it_cannot_find_out_whether_the_scope_is_over(dag, run, hook, acquired, bodies):
    expire(hook)  # and Airflow knows no state of the last task
    assert isinstance(run(dag.get_task("sales.a")).error, LeaseLost)
    assert bodies == []


def test_a_member_whose_lease_is_taken_away_while_it_works_is_stopped(run, hook, comms):
    def work(lease):
        hook.revoke("dwh.sales", "ann", "stuck")
        import time

        time.sleep(20)

    with DAG("a_dag", schedule=None) as dag:
        with lock_scope({"name": "dwh.sales", "ttl": 2}, group_id="sales"):
            member = PythonOperator(task_id="a", python_callable=work)
    run(dag.get_task(ACQUIRE))

    outcome = run(member)

    assert outcome.state == "failed"
    assert isinstance(outcome.error, LeaseLost)


def test_a_member_that_renders_another_name_uses_the_one_that_was_taken(run, hook, comms):
    seen = []
    with DAG("a_dag", schedule=None) as dag, lock_scope("dwh.{{ task.task_id }}", group_id="sales"):
        member = PythonOperator(task_id="a", python_callable=lambda lease: seen.append(lease.lock_name))
    run(dag.get_task(ACQUIRE))
    run(member)
    run(dag.get_task(RELEASE))
    run(member)
    assert seen == [f"dwh.{ACQUIRE}"] * 2


def test_a_scope_over_several_locks_gives_its_members_a_set(run, hook, comms):
    seen = []
    with DAG("a_dag", schedule=None) as dag, lock_scope(["dwh.b", "dwh.a"], group_id="sales"):
        member = PythonOperator(task_id="a", python_callable=lambda lease: seen.append(lease.tokens))
    run(dag.get_task(ACQUIRE))
    held = {lease.lock_name: lease.token for lease in hook.leases()}
    assert set(held) == {"dwh.a", "dwh.b"}

    assert run(member).state == "success"
    assert seen == [held]
    run(dag.get_task(RELEASE))
    assert hook.leases() == []


def test_of_several_locks_one_that_is_lost_stops_the_scope(run, hook, comms):
    with DAG("a_dag", schedule=None) as dag, lock_scope(["dwh.b", "dwh.a"], group_id="sales"):
        member = PythonOperator(task_id="a", python_callable=lambda: pytest.fail("the body ran"))
    run(dag.get_task(ACQUIRE))
    comms.states[RELEASE] = None
    hook.revoke("dwh.b", "ann", "stuck")
    assert isinstance(run(member).error, LeaseLost)


def test_each_mapped_instance_of_a_member_works_under_the_scopes_lease(run, hook, comms, bodies):
    with DAG("a_dag", schedule=None) as dag, lock_scope("dwh.sales", group_id="sales"):
        many = PythonOperator.partial(
            task_id="many", python_callable=lambda name, lease: bodies.append((name, lease.token))
        ).expand(op_args=[["a"], ["b"]])
    run(dag.get_task(ACQUIRE))
    (lease,) = hook.leases()
    for index, name in enumerate("ab"):
        assert run(many.unmap({"op_args": [name]}), map_index=index).state == "success"
    assert bodies == [("a", lease.token), ("b", lease.token)]


def test_another_run_of_the_same_dag_does_not_work_under_this_runs_lease(dag, run, hook, acquired, bodies, comms):
    comms.xcoms.clear()  # as in a run of its own
    with hook.store.transaction() as connection:
        connection.execute("""update lockprovider.lease set context = context || '{"run_id": "another_run"}'""")
    outcome = run(dag.get_task("sales.a"))
    assert outcome.state == "deferred"
    assert bodies == []


# Members that defer themselves


def test_a_member_that_defers_itself_goes_on_under_the_scopes_lease(dag, run, hook, next_leg, acquired):
    task = dag.get_task("sales.d")
    working = run(task)
    assert working.message.classpath.endswith("KeepScopesLeaseTrigger")

    outcome = next_leg(task, working)

    assert outcome.state == "success"
    assert [lease.token for lease in hook.leases()] == [acquired.token]
    assert events(hook) == ["granted"]


def test_killing_a_deferred_member_stops_its_work_and_leaves_the_lease_to_the_scope(
    dag, run, revive, hook, comms, acquired
):
    trigger = revive(run(dag.get_task("sales.d")))
    comms.states["sales.d"] = "failed"
    asyncio.run(trigger.on_kill())
    assert NOTES == ["execute", "killed"]
    assert len(hook.leases()) == 1


def test_the_work_of_a_deferred_member_is_stopped_when_the_scope_gives_its_lease_back(run, revive, hook, comms):
    with DAG("a_dag", schedule=None) as dag:
        with lock_scope({"name": "dwh.sales", "ttl": 2}, group_id="sales"):
            member = Defers(task_id="d", trigger=Ping(seconds=60))
    run(dag.get_task(ACQUIRE))
    (lease,) = hook.leases()
    trigger = revive(run(member))

    async def first():
        async with asyncio.timeout(20):
            event = asyncio.ensure_future(anext(trigger.run()))
            while "started" not in NOTES:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(hook.release, lease)
            return (await event).payload

    assert asyncio.run(first())["__lease__"]["phase"] == "lost"
    assert NOTES == ["execute", "started", "cancelled", "killed"]


def test_a_member_that_waited_alone_keeps_its_own_lease_and_gives_it_back(dag, run, hook, next_leg, acquired):
    run(dag.get_task(RELEASE))
    task = dag.get_task("sales.d")
    working = run(task)
    assert working.message.classpath.endswith(".KeepLeaseTrigger")
    assert next_leg(task, working).state == "success"
    assert hook.leases() == []


def test_a_deferred_member_whose_scope_was_lost_meanwhile_does_not_go_on(
    dag, run, revive, next_leg, hook, comms, acquired
):
    task = dag.get_task("sales.d")
    working = run(task)
    event = fire(revive(working))
    comms.states[RELEASE] = None
    expire(hook)
    assert isinstance(next_leg(task, working, event=event).error, LeaseLost)
    assert NOTES == ["execute", "started"]


# The keeper


def test_the_keeper_renews_the_lease_and_ends_well_when_it_is_given_back(dag, hook, acquired):
    def renewed():
        return hook.leases("dwh.a_run")[0].expires_at > acquired.expires_at

    event = ending(keeper(dag), wait=renewed, then=lambda: hook.release(acquired))
    assert isinstance(event, TaskSuccessEvent)


def test_the_keeper_fails_when_the_lease_is_taken_away(dag, hook, acquired):
    event = ending(keeper(dag), then=lambda: hook.revoke("dwh.a_run", "ann", "stuck"))
    assert isinstance(event, TaskFailedEvent)


def test_the_keeper_fails_when_the_lease_was_gone_before_it_came(dag, hook, comms, acquired):
    comms.states[RELEASE] = None
    expire(hook)
    assert isinstance(ending(keeper(dag)), TaskFailedEvent)


def test_a_keeper_that_comes_when_all_is_over_ends_well(dag, hook, comms, acquired):
    comms.states[RELEASE] = "success"
    hook.release(acquired)
    assert isinstance(ending(keeper(dag)), TaskSuccessEvent)


def test_the_keeper_gives_the_lease_back_when_the_last_task_will_not(dag, hook, comms, acquired):
    comms.states |= {RELEASE: "failed", "sales.a": "success", "sales.b": "failed"}
    assert isinstance(ending(keeper(dag)), TaskSuccessEvent)
    assert hook.leases() == []


def test_the_keeper_gives_the_lease_back_when_the_run_is_no_longer_running(dag, hook, comms, acquired):
    comms.states |= {RELEASE: None, "sales.a": "failed", "sales.b": "skipped"}
    comms.run_state = "failed"
    ending(keeper(dag))
    assert hook.leases() == []


def test_the_keeper_of_a_cleared_run_ends_though_airflow_does_not_cancel_it(dag, hook, comms, acquired):
    comms.states |= {RELEASE: None, KEEP: None, "sales.a": None}
    ending(keeper(dag))
    assert hook.leases() == []


@pytest.mark.parametrize("state", ["running", "restarting", "deferred"])
def test_the_keeper_leaves_the_lease_to_its_ttl_while_a_member_may_be_at_work(dag, hook, comms, acquired, state):
    comms.states |= {RELEASE: None, "sales.a": "failed", "sales.b_7": "success", "sales.b": state}
    comms.run_state = "failed"
    ending(keeper(dag))
    assert len(hook.leases()) == 1


def test_the_keeper_goes_on_while_it_cannot_find_out_how_the_run_is(dag, hook, comms, acquired, monkeypatch):
    asked = []

    async def silent(msg):
        asked.append(msg)
        raise RuntimeError("no answer")

    monkeypatch.setattr(comms, "asend", silent, raising=False)
    event = ending(keeper(dag), wait=lambda: len(asked) >= 4, then=lambda: hook.release(acquired))
    assert isinstance(event, TaskSuccessEvent)


def test_a_restart_of_the_triggerer_gives_nothing_back_and_another_keeper_goes_on(dag, hook, acquired):
    async def stop_in_the_middle():
        trigger = keeper(dag)
        running = asyncio.ensure_future(anext(trigger.run()))
        await asyncio.sleep(0.3)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await trigger.cleanup()

    asyncio.run(stop_in_the_middle())
    assert len(hook.leases()) == 1
    assert isinstance(ending(keeper(dag), then=lambda: hook.release(acquired)), TaskSuccessEvent)


def test_a_keeper_that_a_person_ends_gives_the_lease_back_if_no_member_is_at_work(dag, hook, comms, acquired):
    comms.states |= {KEEP: "success", "sales.a": "success", "sales.b": "queued"}
    killed(keeper(dag))
    assert hook.leases() == []


def test_a_keeper_that_a_person_ends_does_not_take_the_lease_from_a_member_at_work(dag, hook, comms, acquired):
    comms.states |= {KEEP: "success", "sales.a": "running"}
    killed(keeper(dag))
    assert len(hook.leases()) == 1


def test_a_keeper_that_is_ended_lets_members_stop_first(dag, hook, comms, acquired, monkeypatch):
    monkeypatch.setattr(keeping, "PATIENCE", 10.0)
    monkeypatch.setattr(keeping, "_AGAIN", 0.05)
    comms.states |= {KEEP: None, "sales.a": "restarting"}
    answered = comms.send

    def stops_when_asked_twice(msg):
        answer = answered(msg)
        if type(msg).__name__ == "GetTaskStates" and msg.task_ids is None:
            assert len(hook.leases()) == 1, "given back while a member was being stopped"
            comms.states["sales.a"] = None
        return answer

    monkeypatch.setattr(comms, "send", stops_when_asked_twice)
    killed(keeper(dag))
    assert hook.leases() == []


def test_a_keeper_that_is_ended_does_not_give_back_what_a_new_try_of_the_scope_has_got(dag, run, hook, comms, acquired):
    old = keeper(dag)
    assert isinstance(ending(old, then=lambda: hook.release(acquired)), TaskSuccessEvent)
    assert run(dag.get_task(ACQUIRE), ti_id=uuid.uuid4()).state == "success"
    comms.states |= {KEEP: None, "sales.a": "success"}
    asyncio.run(old.on_kill())
    assert len(hook.leases()) == 1


def test_the_lease_of_a_deleted_run_is_left_to_its_ttl_as_members_may_still_be_stopping(dag, hook, comms, acquired):
    comms.run_is_known = False
    killed(keeper(dag))
    assert len(hook.leases()) == 1


def test_a_triggerer_that_wakes_up_late_does_not_free_the_scopes_lock(dag, hook, comms, acquired):
    comms.states |= {KEEP: "deferred", "sales.a": "success"}
    killed(keeper(dag))
    assert len(hook.leases()) == 1


def test_a_keeper_in_a_mapped_group_goes_to_the_triggerer_from_a_worker(dag, run, acquired, hook, revive):
    outcome = run(dag.get_task(KEEP))
    assert outcome.state == "deferred"
    trigger = revive(outcome)
    assert trigger.from_worker
    assert isinstance(ending(trigger, then=lambda: hook.release(acquired)), TaskSuccessEvent)


def test_a_new_try_of_the_scope_is_a_new_owner_that_waits_for_the_old_lease(dag, run, hook, acquired):
    again = run(dag.get_task(ACQUIRE), ti_id=uuid.uuid4())
    assert again.state == "deferred"
    assert [lease.owner_id for lease in hook.leases()] == [acquired.owner_id]
