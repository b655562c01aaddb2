"""What locked tasks leave for the watch: how long they are expected to hold, and whether their lease outlives them."""

from __future__ import annotations

import uuid

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG

from airflow_lockprovider import Lock, LockedOperator, lock_scope
from airflow_lockprovider.desk.watch import Thresholds
from airflow_lockprovider.desk.watching import Party, watch
from airflow_lockprovider.hooks.task_states import task_states

from .conftest import Comms


class Answering(Comms):
    """Knows the states of all tasks, as Airflow's API answers them."""

    def send(self, msg):
        from airflow.sdk.execution_time.comms import TaskStatesResult

        if type(msg).__name__ != "GetTaskStates":
            return super().send(msg)
        self.sent.append(msg)
        states = {name: state for name, state in self.states.items() if name.split("_")[0] in msg.task_ids}
        return TaskStatesResult(task_states=dict.fromkeys(msg.run_ids, states))


def test_a_lease_says_how_long_its_task_is_expected_to_hold_it(run, hook):
    seen = []

    def look():
        seen.extend(lease.context.get("expected_hold") for lease in hook.leases())

    with DAG("a_dag", schedule=None):
        for name, lock in (
            ("said", Lock("said", expected_hold="10 mins")),
            ("as_duration", {"name": "as_duration", "lock_duration": "5 mins"}),
            ("unsaid", "unsaid"),
        ):
            task = LockedOperator(task_id=name, operator=PythonOperator, lock=lock, python_callable=look)
            assert run(task).state == "success"

    assert seen == [600, 300, None]


def test_the_lease_of_a_scope_outlives_its_first_task_and_is_no_dead_owners(run, hook):
    with DAG("a_dag", schedule=None) as dag, lock_scope("dwh.sales", group_id="sales"):
        PythonOperator(task_id="a", python_callable=print)
    assert run(dag.get_task("sales.acquire_lock")).state == "success"

    seen = watch(hook, Thresholds(), states=lambda parties: {party.owner_id: "success" for party in parties})

    assert [lease.context["scope"] for lease in seen.leases] == [True]
    assert seen.problems == ()


def test_a_task_asks_its_supervisor_for_the_states_of_the_tasks_behind_the_locks(monkeypatch):
    from airflow.sdk.execution_time import task_runner

    comms = Answering(states={"load": "running", "load_3": "failed", "other": "success"})
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", comms, raising=False)

    def party(task_id, map_index=-1, **more):
        context = {"dag_id": "d", "run_id": "r", "task_id": task_id, "map_index": map_index, **more}
        return Party(str(uuid.uuid4()), context)

    plain, mapped, unknown = party("load"), party("load", 3), party("gone")
    stranger = Party("pod-7", {"command": "load"})

    assert task_states([plain, mapped, unknown, stranger]) == {plain.owner_id: "running", mapped.owner_id: "failed"}
    assert len(comms.sent) == 1, "one question for all tasks of a DAG"


def test_a_supervisor_that_does_not_answer_is_no_answer(monkeypatch):
    from airflow.sdk.execution_time import task_runner

    class Silent:
        def send(self, msg):
            raise RuntimeError("no")

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", Silent(), raising=False)
    assert task_states([Party("x", {"dag_id": "d", "run_id": "r", "task_id": "t"})]) is None
