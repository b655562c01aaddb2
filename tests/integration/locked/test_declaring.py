"""What happens to a lock when the DAG is parsed: identity, serialisation, and everything that is refused."""

from __future__ import annotations

import json
import pickle
from datetime import timedelta

import pytest
from airflow.providers.amazon.aws.operators.glue import GlueJobOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync
from airflow.sdk import DAG, BaseOperator, task, task_group
from airflow.serialization.serialized_objects import DagSerialization

from airflow_lockprovider import Lock, LockedOperator, locked, with_lock
from airflow_lockprovider.exceptions import ConfigurationError


@pytest.fixture
def dag():
    with DAG("a_dag", schedule=None) as dag:
        yield dag


def serialised(dag):
    return json.loads(json.dumps(DagSerialization.to_dict(dag)))


def encoded_task(dag, task_id):
    return next(t["__var"] for t in serialised(dag)["dag"]["tasks"] if t["__var"]["task_id"] == task_id)


# The same operator as before, for everybody who looks


def test_a_locked_class_keeps_name_module_fields_and_links_of_its_base():
    cls = locked(GlueJobOperator)

    assert (cls.__name__, cls.__module__) == (GlueJobOperator.__name__, GlueJobOperator.__module__)
    assert issubclass(cls, GlueJobOperator)
    assert set(GlueJobOperator.template_fields) < set(cls.template_fields)
    assert [link.name for link in cls.operator_extra_links] == [
        *(link.name for link in GlueJobOperator.operator_extra_links),
        "Lock",
    ]
    assert cls.ui_color == GlueJobOperator.ui_color


def test_the_same_class_is_locked_once_only():
    assert locked(BashOperator) is locked(BashOperator)
    assert locked(locked(BashOperator)) is locked(BashOperator)
    assert LockedOperator[BashOperator] is locked(BashOperator)


def test_the_serialised_task_names_the_operator_that_people_know(dag):
    LockedOperator(task_id="load", operator=BashOperator, lock="dwh.sales", bash_command="true")

    encoded = encoded_task(dag, "load")

    assert encoded["task_type"] == "BashOperator"
    assert encoded["_task_module"] == "airflow.providers.standard.operators.bash"
    assert encoded["lock_name"] == "dwh.sales"
    assert "Lock" in json.dumps(encoded["_operator_extra_links"])


def test_default_args_give_a_lock_to_locked_classes():
    with DAG("a_dag", schedule=None, default_args={"lock": "dwh.sales", "retries": 3}):
        load = locked(BashOperator)(task_id="load", bash_command="true")
        other = BashOperator(task_id="other", bash_command="true")

    assert (load.lock_name, load.retries) == ("dwh.sales", 3)
    assert not hasattr(other, "lock_name")


def test_a_sensor_stays_a_sensor(dag):
    sensor = LockedOperator(
        task_id="until", operator=DateTimeSensorAsync, lock="dwh.sales", target_time="2026-01-31T00:00:00+00:00"
    )
    assert sensor.timeout == DateTimeSensorAsync(task_id="x", target_time="2026-01-31").timeout
    assert encoded_task(dag, "until").get("_is_sensor") is True


@pytest.mark.parametrize(
    "lock",
    [
        "dwh.sales",
        Lock("dwh.sales", ttl="10 mins", on_busy="skip", wait_timeout=timedelta(hours=1)),
        {"name": "dwh.sales", "lock_status": "enable", "lock_duration": "10 mins"},
    ],
)
def test_a_dag_with_locks_serialises_the_same_every_time(lock):
    def parsed():
        with DAG("a_dag", schedule=None) as dag:
            LockedOperator(task_id="one", operator=BashOperator, lock=lock, bash_command="true")
            LockedOperator[BashOperator].partial(task_id="many", lock=lock).expand(bash_command=["a", "b"])
            with_lock(BashOperator(task_id="put_on", bash_command="true"), lock)
            with_lock(BashOperator.partial(task_id="put_on_many").expand(bash_command=["a"]), lock)

            @task.locked(lock=lock)
            def function(): ...

            function()
        return dag

    first, second = serialised(parsed()), serialised(parsed())
    assert first == second
    assert DagSerialization.from_dict(first).task_ids == ["one", "many", "put_on", "put_on_many", "function"]


def test_a_locked_task_can_be_pickled(dag):
    load = LockedOperator(task_id="load", operator=BashOperator, lock="dwh.sales", bash_command="true")
    assert pickle.loads(pickle.dumps(load._lock)) == load._lock


# Mapped tasks


def test_a_mapped_task_is_locked_in_every_map_index(hook, run, dag):
    mapped = LockedOperator[PythonOperator].partial(
        task_id="load", lock="dwh.{{ ti.map_index }}", python_callable=print
    )
    each = mapped.expand(op_args=[["a"], ["b"]]).unmap({"op_args": ["a"]})

    outcome = run(each, map_index=1)

    assert outcome.state == "success"
    assert [event.lock_name for event in hook.history()] == ["dwh.1", "dwh.1"]
    assert hook.history()[0].owner == "a_dag/a_run/load[1]#1"


def test_a_lock_put_on_a_mapped_task_is_there_when_it_is_unmapped(dag):
    mapped = with_lock(BashOperator.partial(task_id="load").expand(bash_command=["true"]), "dwh.sales")
    assert mapped.unmap({"bash_command": "true"}).lock_name == "dwh.sales"


def test_with_lock_takes_what_a_taskflow_call_returned(dag):
    @task
    def load(): ...

    result = with_lock(load(), "dwh.sales")
    assert result.operator.lock_name == "dwh.sales"


def test_with_lock_reads_a_mapped_taskflow_call(dag):
    @task
    def load(month): ...

    result = with_lock(load.expand(month=[1, 2]), Lock("dwh.sales", ttl=60))
    unmapped = result.operator.unmap({"op_kwargs": {"month": 1}})
    assert unmapped._lock.locks == (Lock("dwh.sales", ttl=60),)


def test_a_lock_without_a_name_is_called_after_dag_group_and_task(dag):
    @task_group
    def group():
        LockedOperator(task_id="load", operator=BashOperator, lock={"ttl": 60}, bash_command="true")

    group()
    assert dag.get_task("group.load").lock_name == "a_dag.group.load"


# Refused when the DAG is parsed


def empty(**given):
    LockedOperator(task_id="load", operator=EmptyOperator, **given)


def bash(**given):
    LockedOperator(task_id="load", operator=BashOperator, bash_command="true", **given)


@pytest.mark.parametrize(
    ("lock", "words"),
    [
        ({"name": "x", "lock_druation": "1 min"}, r"unknown 'lock_druation'.*known are .*lock_duration"),
        ({"name": "x", "lock_status": "perhaps"}, r"lock_status='perhaps': use 'enable' or 'disable'"),
        ({"name": "x", "ttl": "ten mins"}, r"ttl of lock 'x'.*ten mins"),
        ({"name": "x", "ttl": 0}, r"ttl of lock 'x'"),
        ({"name": "x", "ttl": -5}, r"ttl of lock 'x'"),
        ({"name": "x", "wait_timeout": "soon"}, r"wait_timeout of lock 'x'.*soon"),
        ({"name": "x", "on_busy": "explode"}, r"on_busy='explode'.*'wait', 'skip' or 'fail'"),
        ({"name": "x", "units": 3, "capacity": 2}, r"could never be granted"),
        ({"name": "x", "units": 0}, r"units=0.*at least 1"),
        ("", r"empty.*for example 'dwh.sales'"),
        ("   ", r"empty"),
        ("n" * 201, r"201 characters, at most 200"),
        ([], r"lock=\[\] is empty: name at least one lock"),
        (["a", "b", "a"], r"'a' is named twice"),
        (["a", {"ttl": 60}], r"has no name: add name="),
        (["a", Lock("b", lease_conn_id="other")], r"'a', 'b' lie in several databases \(dwh_default, other\)"),
        ([Lock("a", on_busy="skip"), Lock("b", on_busy="fail")], r"'a', 'b' say on_busy='fail' and 'skip'"),
        (42, r"lock=42 must be a name, a Lock or a mapping"),
    ],
)
def test_a_lock_that_cannot_work_is_an_import_error_that_names_it(dag, lock, words):
    with pytest.raises(ConfigurationError, match=words):
        bash(lock=lock)


def test_a_ttl_that_is_not_above_the_renewal_period_is_an_import_error(dag, monkeypatch):
    monkeypatch.setenv("AIRFLOW__LOCKPROVIDER__RENEW_EVERY", "30")
    with pytest.raises(ConfigurationError, match=r"ttl=30 must be well above the renewal period of 30 s"):
        bash(lock=Lock("x", ttl=30))
    with DAG("another_dag", schedule=None):
        bash(lock=Lock("x", ttl=60))


@pytest.mark.parametrize(
    ("declare", "words"),
    [
        (lambda: empty(lock="x"), r"EmptyOperator cannot be locked: Airflow's scheduler marks it successful"),
        (lambda: with_lock(EmptyOperator(task_id="load"), "x"), r"EmptyOperator cannot be locked"),
        (
            lambda: LockedOperator(
                task_id="load",
                operator=TriggerDagRunOperator,
                lock="x",
                trigger_dag_id="other",
                wait_for_completion=True,
            ),
            r"task 'load' .*wait_for_completion=True.*Lock the task in the triggered DAG instead",
        ),
        (
            lambda: LockedOperator(
                task_id="load",
                operator=DateTimeSensorAsync,
                lock="x",
                target_time="2026-01-31",
                start_from_trigger=True,
            ),
            r"task 'load' .*start_from_trigger=True.*before any lock",
        ),
        (lambda: locked(dict), r"<class 'dict'> is no operator class"),
        (lambda: with_lock("load", "x"), r"'load' is no task"),
        (
            lambda: with_lock(LockedOperator(task_id="load", operator=BashOperator, lock="x", bash_command=""), "y"),
            r"task 'load' has a lock already: 'x'",
        ),
        (
            lambda: LockedOperator(operator=BashOperator(task_id="load", bash_command=""), lock="x", retries=2),
            r"takes no 'retries': give them to the task itself",
        ),
    ],
)
def test_what_cannot_be_locked_is_refused_with_the_reason_and_the_alternative(dag, declare, words):
    with pytest.raises(ConfigurationError, match=words):
        declare()


def test_an_operator_without_execute_of_its_own_is_no_problem(dag):
    class Fine(BaseOperator):
        def execute(self, context):
            return 1

    class Finer(Fine): ...

    assert LockedOperator(task_id="load", operator=Finer, lock="x").lock_name == "x"


def test_missing_and_misspelt_arguments_of_the_wrapped_operator_are_its_own_errors(dag):
    with pytest.raises(TypeError, match="bash_command"):
        LockedOperator(task_id="load", operator=BashOperator, lock="x")
    with pytest.raises(TypeError, match="bash_comand"):
        LockedOperator(task_id="load", operator=BashOperator, lock="x", bash_command="", bash_comand="")


def test_a_lock_cannot_be_named_after_its_own_lease(hook, run, dag):
    load = LockedOperator(task_id="load", operator=PythonOperator, lock="dwh.{{ lease.token }}", python_callable=print)
    outcome = run(load)

    assert outcome.state == "failed"
    assert "task 'load': lock='dwh.{{ lease.token }}' asks for the lease" in str(outcome.error)
    assert hook.history() == []


def test_a_name_that_renders_to_nothing_fails_the_task_before_it_asks_for_a_lock(hook, run, dag):
    load = LockedOperator(
        task_id="load", operator=PythonOperator, lock="{{ params.get('nothing', '') }}", python_callable=print
    )
    outcome = run(load)

    assert outcome.state == "failed"
    assert "empty" in str(outcome.error)
    assert hook.history() == []
