"""DAGs of test_run_alone.py."""

from __future__ import annotations

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Param, task, task_group

from airflow_lockprovider import lock_scope


def step(task_id, **more):
    return BashOperator(task_id=task_id, bash_command="true", **more)


with DAG("alone_line", schedule=None, params={"month": Param(1, type="integer", maximum=12)}):
    EmptyOperator(task_id="start") >> step("load") >> step("publish")
    step("aside")

with DAG("alone_setup", schedule=None):
    first, cluster, work, gone = step("first"), step("cluster"), step("work"), step("gone")
    first >> cluster >> work >> gone.as_teardown(setups=cluster.as_setup())
    work >> step("after")

with DAG("alone_rules", schedule=None):
    a, b = step("a"), step("b")
    for rule in ("all_success", "all_failed", "one_failed", "all_skipped", "all_done", "none_failed", "one_success"):
        [a, b] >> step(rule, trigger_rule=rule)

with DAG("alone_mapped", schedule=None):
    BashOperator.partial(task_id="literal").expand(bash_command=["true", "true", "true"]) >> step("last")

    @task
    def months():
        return [1, 2]

    @task
    def of_month(month):
        return month

    of_month.expand(month=months())

    @task_group
    def monthly(month):
        @task
        def fetch(month):
            return month

        @task
        def store(month):
            return month

        fetch(month) >> store(month)

    monthly.expand(month=[1, 2])

with DAG("alone_scope", schedule=None), lock_scope("alone_scope", group_id="sales"):
    step("stage") >> step("publish")

with DAG("alone_branch", schedule=None):

    @task.branch
    def choose():
        return "left"

    choose() >> [step("left"), step("right")]
