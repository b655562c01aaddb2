"""DAGs of tests/live/test_scope.py: one lease over several tasks."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, task, task_group

from airflow_lockprovider import LockedOperator, lock_scope

PAUSE = 15
"""Seconds between two members in which nothing of the run is on a worker: longer than the lease lives (12 s)."""

with DAG("scoped_work", schedule=None):
    with lock_scope("scoped_work", group_id="sales"):
        # Waits for its second try in between: only the keeper renews then.
        stage = BashOperator(
            task_id="stage",
            bash_command='[ "{{ ti.try_number }}" != 1 ] && echo "token $AIRFLOW_LEASE_TOKEN"',
            retries=1,
            retry_delay=timedelta(seconds=PAUSE),
        )
        publish = BashOperator(task_id="publish", bash_command='echo "token {{ lease.token }}"')

        @task
        def fails(lease=None):
            raise ValueError(f"planned, under token {lease.token}")

        stage >> [publish, fails()]

with DAG("scoped_other", schedule=None):
    LockedOperator(task_id="other", operator=BashOperator, lock="scoped_work", bash_command="true")

with DAG("scoped_long", schedule=None), lock_scope("scoped_long", group_id="sales"):
    BashOperator(task_id="long", bash_command="sleep 300")


@task_group
def load(month):
    with lock_scope("scoped_mapped", group_id="sales"):
        BashOperator(task_id="work", bash_command='echo "token {{ lease.token }}"')


with DAG("scoped_mapped", schedule=None):
    load.expand(month=[1, 2])


with DAG("scoped_branch", schedule=None), lock_scope("scoped_branch", group_id="sales"):

    @task.branch
    def choose():
        return []

    choose() >> BashOperator(task_id="not_chosen", bash_command="true")
    BashOperator(task_id="slow", bash_command="sleep 10")
