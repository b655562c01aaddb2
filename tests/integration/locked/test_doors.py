"""Every way in: classes, instances, decorators, default_args, configuration. They all lead to the same lock."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from airflow.providers.amazon.aws.operators.glue import GlueJobOperator
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, BaseOperator, TaskGroup, setup, task, task_group, teardown

import airflow_lockprovider
from airflow_lockprovider import Lock, LockedOperator, lock, locked, with_lock
from airflow_lockprovider.exceptions import ConfigurationError
from tests.integration.locked.rule_dags import load, locks


@pytest.fixture
def dag():
    with DAG("a_dag", schedule=None) as dag:
        yield dag


ONE = {
    "a name": "dwh.sales",
    "a Lock": Lock("dwh.sales"),
    "a mapping": {"name": "dwh.sales", "lock_status": "enable", "lock_duration": "10 mins"},
    "a list": ["dwh.sales"],
}


@pytest.mark.parametrize("given", ONE.values(), ids=ONE)
def test_all_doors_take_all_forms_of_a_lock(dag, hook, run, given):
    LockedOperator(task_id="class", operator=PythonOperator, lock=given, python_callable=print)
    LockedOperator[PythonOperator](task_id="subscript", lock=given, python_callable=print)
    LockedOperator(operator=PythonOperator(task_id="instance", python_callable=print), lock=given)
    with_lock(PythonOperator(task_id="with_lock", python_callable=print), given)

    @task.locked(lock=given)
    def decorated(): ...

    @lock(given)
    @task
    def above(): ...

    @lock(given)
    @task.branch
    def branch(): ...

    for each in (decorated(), above(), branch()):
        assert each.operator.lock_name in ("dwh.sales", ["dwh.sales"])
    for each in dag.tasks:
        assert run(each).state in ("success", "skipped"), each
    assert len([event for event in hook.history("dwh.sales") if event.event == "granted"]) == len(dag.tasks) == 7


def test_several_locks_are_taken_together(dag, hook, run):
    both = with_lock(PythonOperator(task_id="load", python_callable=print), ["dwh.a", Lock("dwh.b", ttl=60)])
    assert run(both).state == "success"
    assert {event.lock_name for event in hook.history()} == {"dwh.a", "dwh.b"}


def test_a_switched_off_lock_runs_without_one(dag, hook, run):
    off = LockedOperator(
        task_id="load", operator=PythonOperator, lock={"name": "x", "lock_status": "disable"}, python_callable=print
    )
    assert run(off).state == "success"
    assert hook.history() == []


# Decorators


def test_the_lock_of_a_taskflow_function_can_be_overridden_and_mapped(dag):
    @task.locked(lock="one")
    def load(month): ...

    assert load("2026-01").operator.lock_name == "one"
    assert load.override(task_id="other", lock="two")("2026-01").operator.lock_name == "two"
    mapped = load.override(task_id="third", lock="three").partial().expand(month=[1, 2]).operator
    assert mapped.unmap({"op_kwargs": {"month": 1}}).lock_name == "three"
    assert mapped.partial_kwargs["lock"] == "three"


def test_lock_stands_above_any_kind_of_task(dag, hook, run):
    @lock("dwh.sales")
    @task.bash
    def command(word):
        return f"echo {word} $AIRFLOW_LEASE_NAME"

    @lock("dwh.sales")
    @task.sensor(poke_interval=1, timeout=10)
    def sensor():
        return True

    @lock("dwh.sales")
    @task.short_circuit
    def short_circuit():
        return True

    @lock("dwh.sales")
    @setup
    def prepare(): ...

    @lock("dwh.sales")
    @teardown
    def tidy(): ...

    @lock("dwh.sales")
    @task.run_if(lambda context: True)
    @task(retries=7)
    def conditional(lease=None):
        return lease.lock_name

    made = [each.operator for each in (command("hi"), sensor(), short_circuit(), prepare(), tidy(), conditional())]

    assert [each.task_type for each in made] == [
        "_BashDecoratedOperator",
        "DecoratedSensorOperator",
        "_ShortCircuitDecoratedOperator",
        *["_PythonDecoratedOperator"] * 3,
    ]
    assert (made[3].is_setup, made[4].is_teardown, made[5].retries) == (True, True, 7)
    outcomes = [run(each) for each in made]
    assert [outcome.state for outcome in outcomes] == ["success"] * 6
    assert outcomes[0].pushed() == "hi dwh.sales"
    assert outcomes[5].pushed() == "dwh.sales"


def test_lock_on_a_mapped_function_holds_in_every_map_index(dag, hook, run):
    @lock("dwh.{{ ti.map_index }}")
    @task
    def load(month):
        return month

    mapped = load.expand(month=["a", "b"]).operator
    assert run(mapped.unmap({"op_kwargs": {"month": "b"}}), map_index=1).pushed() == "b"
    assert hook.history()[0].lock_name == "dwh.1"


def test_another_task_of_the_same_kind_is_not_touched(dag):
    @lock("x")
    @task
    def one(): ...

    @task
    def other(): ...

    assert one().operator.lock_name == "x"
    assert not hasattr(other().operator, "lock_name")


SOURCES = """
from airflow.sdk import task
from airflow_lockprovider import Lock, lock
import airflow_lockprovider as ours
from airflow_lockprovider import lock as guard

@lock("x")
@task.external_python(python="/usr/bin/python3")
def first(): return 1

@guard(
    Lock("x",
         ttl=60)
)
@task.external_python(python="/usr/bin/python3")
def second(): return 2

@ours.lock("x")
@task.virtualenv
def third():
    def lock(name): return lambda function: function
    @lock("kept, as it is not ours")
    def inner(): return 3
    return inner()
"""


def test_another_python_gets_the_function_without_our_decorator(tmp_path, dag, monkeypatch):
    (tmp_path / "sources.py").write_text(SOURCES)
    monkeypatch.syspath_prepend(tmp_path)
    import sources

    for function, expected in ((sources.first, 1), (sources.second, 2), (sources.third, 3)):
        source = function().operator.get_python_source()
        scope: dict[str, object] = {}
        exec(source, scope)  # it would not know lock, nor task
        assert scope[function.__name__]() == expected
    assert "kept, as it is not ours" in sources.third().operator.get_python_source()


def test_a_function_for_another_python_runs_there_under_the_lock(dag, hook, run):
    # The one that .venv was made from: in it is no Airflow, which would look for a supervisor.
    @lock("dwh.sales")
    @task.external_python(python=sys._base_executable, expect_airflow=False)
    def load(number):
        import os

        return [number, os.environ["AIRFLOW_LEASE_NAME"]]

    outcome = run(load(7).operator)
    assert outcome.pushed() == [7, "dwh.sales"], outcome.error


# default_args

DEFAULTS = """\
from airflow.sdk import DAG, TaskGroup, task
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow_lockprovider import LockedOperator, lock, locked, with_lock

with DAG("defaults", schedule=None, default_args={"lock": "dwh.sales", "retries": 3}):
    EmptyOperator(task_id="begin")
    BashOperator(task_id="plain", bash_command="true")
    BashOperator.partial(task_id="mapped").expand(bash_command=["a"])
    locked(BashOperator)(task_id="class", bash_command="true")
    LockedOperator(task_id="door", operator=BashOperator, bash_command="true")
    LockedOperator[BashOperator].partial(task_id="mapped_class").expand(bash_command=["a"])
    LockedOperator(task_id="own", operator=BashOperator, lock="mine", bash_command="true")
    LockedOperator(task_id="none", operator=BashOperator, lock=None, bash_command="true")
    with_lock(BashOperator(task_id="taken_off", bash_command="true"), None)

    @task
    def function(): ...

    @task.locked
    def named(): ...

    @lock("above")
    @task
    def above(): ...

    function(), named(), above()
    with TaskGroup("group", default_args={"lock": ["a", "b"]}):
        BashOperator(task_id="plain", bash_command="true")
        with TaskGroup("inner"):
            BashOperator(task_id="plain", bash_command="true")
        with TaskGroup("free", default_args={"lock": None}):
            BashOperator(task_id="plain", bash_command="true")
"""


def test_default_args_hold_for_every_operator(tmp_path, airflow_db):
    bag = load(tmp_path, {"defaults.py": DEFAULTS})

    assert not bag.import_errors
    assert locks(bag) == {
        **{f"defaults.{name}": ["dwh.sales"] for name in ("plain", "mapped", "class", "door", "mapped_class")},
        **{f"defaults.{name}": ["dwh.sales"] for name in ("function", "named")},
        "defaults.own": ["mine"],
        "defaults.above": ["above"],
        "defaults.group.plain": ["a", "b"],
        "defaults.group.inner.plain": ["a", "b"],
    }
    dag = bag.dags["defaults"]
    assert {dag.get_task(name).retries for name in ("plain", "mapped", "class", "own")} == {3}
    assert dag.get_task("mapped").unmap({"bash_command": "a"}).lock_name == "dwh.sales"
    assert dag.get_task("mapped_class").unmap({"bash_command": "a"}).lock_name == "dwh.sales"


@pytest.mark.parametrize(
    ("default", "task", "words"),
    [
        ("''", 'BashOperator(task_id="bad", bash_command="")', "lock name '' is empty"),
        ('{"nmae": "x"}', 'BashOperator(task_id="bad", bash_command="")', "unknown 'nmae'"),
        (
            '"x"',
            'TriggerDagRunOperator(task_id="bad", trigger_dag_id="x", wait_for_completion=True)',
            "To leave it without: LockedOperator(operator=…, lock=None)",
        ),
    ],
)
def test_default_args_that_cannot_hold_are_an_import_error(tmp_path, airflow_db, default, task, words):
    text = f"""\
from airflow.sdk import DAG
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator

with DAG("defaults", schedule=None, default_args={{"lock": {default}}}):
    {task}
"""
    (error,) = load(tmp_path, {"defaults.py": text}).import_errors.values()
    assert words in error
    assert "task 'bad' of DAG 'defaults' is to be locked by default_args" in error


def test_a_taskflow_function_without_a_lock_or_a_default_is_called_after_itself(dag):
    @task.locked
    def load(): ...

    assert load().operator.lock_name == "a_dag.load"


# Instances whose class is laid out in another way


class Slotted:
    __slots__ = ("place",)


class Unusual(Slotted, BaseOperator):
    def execute(self, context):
        return 1


def test_an_operator_with_a_mixin_of_its_own_can_be_locked_as_an_instance(dag):
    load = with_lock(GlueJobOperator(task_id="load", job_name="load"), "dwh.sales")
    assert (load.task_type, load.lock_name) == ("GlueJobOperator", "dwh.sales")
    assert [one.__name__ for one in type(load).__mro__][1:3] == ["LockedMixin", "GlueJobOperator"]


def test_an_operator_with_slots_can_be_locked(dag, hook, run):
    assert run(with_lock(Unusual(task_id="load"), "dwh.sales")).pushed() == 1
    assert run(locked(Unusual)(task_id="other", lock="dwh.sales")).pushed() == 1


# Refused


def decorated_below():
    @task
    @lock("x")
    def load(): ...


def decorated_group():
    @lock("x")
    @task_group
    def group(): ...


def twice():
    @lock("y")
    @task.locked(lock="x")
    def load(): ...


def derived():
    @task
    def load():
        return [1]

    with_lock(load().map(str), "x")


def decorated_not_called():
    @task
    def load(): ...

    with_lock(load, "x")


@pytest.mark.parametrize(
    ("declare", "words"),
    [
        (decorated_below, r"@lock\('x'\) on load must stand above @task"),
        (decorated_group, r"@lock\('x'\) on .*for a group: lock_scope"),
        (twice, r"load has a lock already: 'x'"),
        (lambda: lock("x")(BashOperator(task_id="a", bash_command="")), r"with_lock\(task, …\)"),
        (lambda: lock({"nmae": "x"}), r"unknown 'nmae'"),
        (lambda: lock([]), r"empty: name at least one lock"),
        (lambda: task.locked(lock={"name": "x", "ttl": "soon"}), r"ttl of lock 'x'"),
        (lambda: LockedOperator[BashOperator].partial(task_id="a", lock={"nmae": "x"}), r"unknown 'nmae'"),
        (lambda: with_lock(BashOperator.partial(task_id="a").expand(bash_command=["a"]), 42), r"lock=42 must be"),
        (
            lambda: with_lock(with_lock(BashOperator.partial(task_id="a").expand(bash_command=["a"]), "x"), "y"),
            r"task 'a' has a lock already: 'x'",
        ),
        (lambda: with_lock(TaskGroup("group"), "x"), r"lock_scope\(…\) holds one lease over several tasks"),
        (derived, r"is derived from the results of tasks"),
        (decorated_not_called, r"put @lock\(…\) above @task, or lock what load\(\) returns"),
        (lambda: with_lock(None, "x"), r"None is no task"),
    ],
)
def test_a_door_that_leads_nowhere_says_where_the_right_one_is(dag, declare, words):
    with pytest.raises(ConfigurationError, match=words):
        declare()


def test_a_forgotten_lock_is_told(dag):
    with pytest.raises(TypeError, match="missing keyword argument 'lock'"):
        LockedOperator(task_id="a", operator=BashOperator, bash_command="")
    with pytest.raises(TypeError, match="missing keyword argument 'lock'"):
        LockedOperator(operator=BashOperator(task_id="c", bash_command=""))
    with pytest.raises(TypeError, match="missing keyword argument 'operator'"):
        LockedOperator(task_id="b", lock="x")


# The package


def test_every_public_name_is_there_and_nothing_is_loaded_before_it_is_used():
    for name in airflow_lockprovider.__all__:
        assert getattr(airflow_lockprovider, name) is not None
    code = textwrap.dedent(
        """
        import sys, airflow_lockprovider
        print([name for name in sys.modules if name.startswith(("airflow.", "airflow_lockprovider."))])
        """
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path("/"))
    assert told.stdout.strip() == "['airflow_lockprovider.lazy']", "which loads the others"
