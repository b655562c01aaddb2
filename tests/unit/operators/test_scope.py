"""What `lock_scope` makes of a DAG, and what it refuses, when the DAG is parsed."""

from __future__ import annotations

import pytest
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, TaskGroup, task, task_group
from airflow.serialization.serialized_objects import DagSerialization

from airflow_lockprovider import Lock, LockedOperator, lock_scope
from airflow_lockprovider.exceptions import ConfigurationError


@pytest.fixture
def dag():
    with DAG("a_dag", schedule=None) as dag:
        yield dag


def bash(task_id, **kwargs):
    return BashOperator(task_id=task_id, bash_command="true", **kwargs)


def downstream(dag, task_id):
    return dag.get_task(task_id).downstream_task_ids


def test_a_first_task_takes_the_lock_before_the_work_and_a_last_one_gives_it_back_after_all_of_it(dag):
    with lock_scope("dwh.sales"):
        bash("a") >> [bash("b"), bash("c")]

    acquire, keep, release = (f"lock_dwh_sales.{name}" for name in ("acquire_lock", "keep_lock", "release_lock"))
    assert dag.task_ids == [acquire, "a", "b", "c", release, keep]
    assert downstream(dag, acquire) == {"a", keep, release}
    assert downstream(dag, "a") == {"b", "c", release}
    assert downstream(dag, "b") == downstream(dag, "c") == {release}
    assert downstream(dag, keep) == downstream(dag, release) == set()
    assert dag.get_task(acquire).is_setup
    assert dag.get_task(keep).is_teardown
    assert dag.get_task(release).is_teardown


def test_the_scope_has_the_ids_of_its_group_if_it_is_given_one(dag):
    with lock_scope("dwh.sales", group_id="sales") as group:
        bash("a")
    assert group.group_id == "sales"
    assert dag.task_ids == ["sales.acquire_lock", "sales.a", "sales.release_lock", "sales.keep_lock"]


def test_what_stands_before_the_scope_stands_before_the_lock_and_what_follows_does_not_wait_for_the_release(dag):
    with lock_scope("dwh.sales", group_id="sales") as group:
        bash("a") >> bash("b")
    bash("before") >> group >> bash("after")

    assert downstream(dag, "before") == {"sales.acquire_lock"}
    assert dag.get_task("after").upstream_task_ids == {"sales.b"}


def test_the_state_of_the_run_is_that_of_the_work_not_of_the_scopes_own_tasks(dag):
    with lock_scope("dwh.sales", group_id="sales"):
        bash("a")
    for name in ("keep_lock", "release_lock"):
        assert not dag.get_task(f"sales.{name}").on_failure_fail_dagrun


def test_every_task_in_the_scope_is_a_locked_one_of_its_own_type(dag):
    with lock_scope("dwh.sales", group_id="sales"):
        one = bash("one")
        many = BashOperator.partial(task_id="many").expand(bash_command=["a", "b"])
        with TaskGroup("inner"):
            inner = bash("inner")

        @task
        def function(): ...

        flow = function()

    assert type(one).__name__ == "BashOperator"
    for member in (one, many.unmap({"bash_command": "a"}), inner, flow.operator):
        assert member.lock_name == "dwh.sales"
        assert (member._lock.scope.acquire_id, member._lock.scope.release_id) == (
            "sales.acquire_lock",
            "sales.release_lock",
        )


def test_a_task_that_airflow_never_runs_may_be_in_a_scope(dag):
    with lock_scope("dwh.sales", group_id="sales"):
        bash("a") >> EmptyOperator(task_id="join") >> bash("b")
    assert type(dag.get_task("sales.join")) is EmptyOperator


def test_two_scopes_of_one_lock_may_follow_each_other(dag):
    with lock_scope("dwh.sales") as first:
        bash("a")
    with lock_scope("dwh.sales") as second:
        bash("b")
    first >> second
    assert [first.group_id, second.group_id] == ["lock_dwh_sales", "lock_dwh_sales__1"]
    assert downstream(dag, "a") == {"lock_dwh_sales.release_lock", "lock_dwh_sales__1.acquire_lock"}


def test_a_scope_may_lie_in_a_task_group(dag):
    with TaskGroup("outer"), lock_scope("dwh.sales", group_id="sales"):
        bash("a")
    assert "outer.sales.acquire_lock" in dag.task_ids
    assert not dag.get_task("outer.sales.a")._lock.scope.mapped


def test_in_a_task_group_it_needs_an_id_else_airflow_would_rename_its_tasks(dag):
    with TaskGroup("outer"):
        with pytest.raises(ConfigurationError, match="'outer' needs a group_id"), lock_scope("dwh.sales"):
            bash("a")


def test_in_a_mapped_task_group_each_map_index_is_a_scope_of_its_own(dag):
    @task_group
    def load(month):
        with lock_scope("dwh.sales", group_id="sales"):
            bash("a")

    load.expand(month=[1, 2])
    scope = dag.get_task("load.sales.a")._lock.scope
    assert scope.mapped
    assert scope.map_index(1) == 1


def test_a_mapped_task_in_a_scope_has_the_scope_of_the_whole_run(dag):
    with lock_scope("dwh.sales", group_id="sales"):
        many = BashOperator.partial(task_id="many").expand(bash_command=["a", "b"])
    assert many.unmap({"bash_command": "a"})._lock.scope.map_index(1) == -1


def test_a_scope_over_several_locks_takes_them_together(dag):
    with lock_scope(["dwh.sales", Lock("dwh.stock", ttl=60)]):
        a = bash("a")
    assert dag.get_task("lock_dwh_sales.acquire_lock").lock_name == ["dwh.sales", "dwh.stock"]
    assert a.lock_name == ["dwh.sales", "dwh.stock"]


def test_a_lock_that_is_switched_off_leaves_a_plain_group(dag):
    with lock_scope({"name": "dwh.sales", "lock_status": "disable"}):
        a = bash("a")
    assert dag.task_ids == ["a"]
    assert type(a) is BashOperator


def test_default_arguments_are_for_the_work_waiting_and_keeping_run_into_no_timeout():
    from datetime import timedelta

    defaults = {"execution_timeout": timedelta(minutes=1), "retries": 0, "depends_on_past": True}
    with DAG("a_dag", schedule=None, default_args=defaults) as dag, lock_scope("dwh.sales", group_id="sales"):
        bash("a")
    own = [dag.get_task(f"sales.{name}_lock") for name in ("acquire", "keep", "release")]
    assert [each.execution_timeout for each in own] == [None] * 3
    assert [each.depends_on_past for each in own] == [True, False, False]
    assert dag.get_task("sales.release_lock").retries > 0


def test_the_keeper_starts_in_the_triggerer_and_knows_the_scope(dag):
    with lock_scope(Lock("dwh.sales", lease_conn_id="other"), group_id="sales"):
        bash("b") >> bash("a")
    keep = dag.get_task("sales.keep_lock")
    assert keep.start_from_trigger
    assert keep.start_trigger_args.trigger_kwargs == {
        "acquire_id": "sales.acquire_lock",
        "release_id": "sales.release_lock",
        "members": ["sales.a", "sales.b"],
        "lease_conn_id": "other",
    }


def test_a_dag_with_a_scope_is_serialized_alike_at_every_parse():
    def parse():
        with DAG("a_dag", schedule=None) as dag, lock_scope(Lock("dwh.sales", ttl=60)):
            bash("a") >> BashOperator.partial(task_id="many").expand(bash_command=["a", "b"])
        return DagSerialization.to_dict(dag)

    first = parse()
    assert first == parse()
    assert "0x" not in str(first)
    read = DagSerialization.from_dict(first).get_task("lock_dwh_sales.keep_lock")
    assert read.start_from_trigger
    assert read.is_teardown


def test_clearing_a_member_clears_the_scopes_own_tasks_too(dag):
    with lock_scope("dwh.sales", group_id="sales"):
        bash("a") >> bash("b")
    serialized = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    cleared = serialized.partial_subset(task_ids=["sales.b"], include_downstream=False, include_upstream=False)
    assert set(cleared.task_dict) == {"sales.b", "sales.acquire_lock", "sales.keep_lock", "sales.release_lock"}


def test_setups_and_teardowns_of_the_user_stay_what_they_are_and_end_before_the_release(dag):
    with lock_scope("dwh.sales", group_id="sales") as group:
        begin, work, end = bash("begin").as_setup(), bash("work"), bash("end")
        begin >> work >> end.as_teardown(setups=begin)
    group >> bash("after")
    dag.validate()

    assert begin.is_setup
    assert end.is_teardown
    assert downstream(dag, "sales.acquire_lock") == {"sales.begin", "sales.keep_lock", "sales.release_lock"}
    assert "sales.release_lock" in end.downstream_task_ids
    assert dag.get_task("after").upstream_task_ids == {"sales.work"}


def test_a_branch_cannot_skip_the_release_and_what_follows_the_scope_is_as_it_was(dag):
    with lock_scope("dwh.sales", group_id="sales") as group, TaskGroup("inner"):

        @task.branch
        def choose(): ...

        choose() >> [bash("one"), bash("other")]
    group >> bash("after")
    dag.validate()

    assert downstream(dag, "sales.inner.choose") == {
        "sales.inner.one",
        "sales.inner.other",
        "sales.inner.choose_ended",
    }
    assert downstream(dag, "sales.inner.choose_ended") == {"sales.release_lock"}
    assert dag.get_task("sales.inner.choose_ended").is_teardown, "else its state would count for the run"
    assert dag.get_task("after").upstream_task_ids == {"sales.inner.one", "sales.inner.other"}


def test_an_empty_scope_is_refused(dag):
    with pytest.raises(ConfigurationError, match="no tasks"), lock_scope("dwh.sales"):
        pass


def test_a_scope_in_a_scope_is_refused_as_two_dags_could_wait_for_each_other(dag):
    with pytest.raises(ConfigurationError, match="wait for each other for ever"), lock_scope("dwh.sales"):
        with TaskGroup("between"), lock_scope("dwh.stock", group_id="stock"):
            bash("a")


def one_with_a_lock():
    LockedOperator(task_id="own", operator=BashOperator, bash_command="true", lock="dwh.stock")


def several_with_a_lock():
    LockedOperator[BashOperator].partial(task_id="own", lock="dwh.stock").expand(bash_command=["a"])


@pytest.mark.parametrize("make", [one_with_a_lock, several_with_a_lock])
def test_a_task_with_a_lock_of_its_own_is_refused_in_a_scope(dag, make):
    with pytest.raises(ConfigurationError, match="'own' has a lock of its own"), lock_scope("dwh.sales"):
        make()


def test_a_task_whose_own_lock_is_switched_off_works_under_that_of_the_scope(dag):
    with lock_scope("dwh.sales"):
        off = LockedOperator(task_id="off", operator=BashOperator, bash_command="true", lock={"lock_status": "disable"})
    assert off.lock_name == "dwh.sales"


def test_a_trigger_rule_that_would_change_its_meaning_is_refused_at_the_beginning_of_a_scope(dag):
    with pytest.raises(ConfigurationError, match="begins a lock_scope with trigger_rule='one_success'"):
        with lock_scope("dwh.sales"):
            bash("a", trigger_rule="one_success")


def test_any_trigger_rule_is_good_inside(dag):
    with lock_scope("dwh.sales"):
        bash("a") >> bash("b", trigger_rule="one_failed")
    dag.validate()


def test_a_task_that_cannot_be_locked_is_refused_in_a_scope(dag):
    with pytest.raises(ConfigurationError, match="wait_for_completion=True"), lock_scope("dwh.sales"):
        TriggerDagRunOperator(task_id="other", trigger_dag_id="other", wait_for_completion=True)


def test_a_mistake_in_the_lock_is_told_when_the_dag_is_parsed(dag):
    with pytest.raises(ConfigurationError, match="unknown 'capactiy'"), lock_scope({"name": "x", "capactiy": 2}):
        bash("a")
