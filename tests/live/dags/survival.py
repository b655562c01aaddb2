"""Locked tasks for what Airflow, and people, can do to them. What happens is noted beside this file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.providers.standard.operators.python import PythonOperator, ShortCircuitOperator
from airflow.providers.standard.sensors.python import PythonSensor
from airflow.sdk import DAG, get_current_context, task

from airflow_lockprovider import Lock, LockedOperator
from tests.live.noting import Defers, body, note, notes

NOTES = str(Path(__file__).with_suffix(".notes"))
BY_CONF = "{{ dag_run.conf['lock'] }}"


def work(seconds=None, fail_first=False):
    context = get_current_context()
    conf = context["dag_run"].conf or {}
    first = context["ti"].try_number == 1
    body(NOTES, context, seconds if seconds is not None else conf.get("seconds", 0) if first else 0)
    if fail_first and first:
        raise ValueError("the first try fails")


def second_poke():
    note(NOTES, "survival_reschedules//work", "poke")
    return len(notes(NOTES, "survival_reschedules//work", "poke")) > 1


with DAG("survival_body", schedule=None):
    LockedOperator(
        task_id="work",
        operator=PythonOperator,
        python_callable=work,
        lock=BY_CONF,
        execution_timeout=timedelta(minutes=5),
    )

with DAG("survival_short_limit", schedule=None):
    LockedOperator(
        task_id="work",
        operator=PythonOperator,
        python_callable=work,
        lock=BY_CONF,
        execution_timeout=timedelta(seconds=8),
    )

with DAG("survival_deleted", schedule=None):
    LockedOperator(task_id="work", operator=PythonOperator, python_callable=work, lock=BY_CONF)

with DAG("survival_defers", schedule=None):
    LockedOperator(task_id="work", operator=Defers, file=NOTES, lock=Lock(BY_CONF, ttl=90))

with DAG("survival_too_fast", schedule=None):
    LockedOperator[Defers].partial(task_id="work", file=NOTES, times=2, lock="too_fast_{{ ti.map_index }}").expand(
        number=[1, 2]
    )

with DAG("survival_retries", schedule=None):
    LockedOperator(
        task_id="work",
        operator=PythonOperator,
        python_callable=work,
        op_kwargs={"fail_first": True},
        lock="retries",
        retries=1,
        retry_delay=timedelta(seconds=6),
    )

with DAG("survival_mapped", schedule=None):
    LockedOperator[PythonOperator].partial(task_id="work", python_callable=work, lock="mapped").expand(
        op_kwargs=[{"seconds": 1}, {"seconds": 1}]
    )

with DAG("survival_group", schedule=None):
    begin = LockedOperator(task_id="begin", operator=PythonOperator, python_callable=work, lock="begin").as_setup()
    end = LockedOperator(task_id="end", operator=PythonOperator, python_callable=work, lock="end").as_teardown(
        setups=begin
    )
    fails = LockedOperator(task_id="fails", operator=BashOperator, bash_command="exit 1", lock="fails")
    begin >> fails >> end

with DAG("survival_skips", schedule=None):

    @task.branch
    def choose():
        return "shows"

    chosen = LockedOperator(operator=choose().operator, lock="branch")
    shows = LockedOperator(
        task_id="shows",
        operator=BashOperator,
        bash_command="echo {{ lease['shows'].token }}",
        lock=["shows", "shows_too"],
    )
    chosen >> shows
    chosen >> LockedOperator(task_id="other", operator=PythonOperator, python_callable=work, lock="other")
    after = LockedOperator(task_id="cut_off", operator=PythonOperator, python_callable=work, lock="cut_off")
    check = LockedOperator(
        task_id="check", operator=ShortCircuitOperator, python_callable=lambda: False, lock="short_circuit"
    )
    check >> after

# Over for long, so that it runs only when it is asked for.
LONG_AGO = {"start_date": datetime(2026, 1, 1, tzinfo=UTC), "end_date": datetime(2026, 1, 31, tzinfo=UTC)}
with DAG("survival_backfill", schedule="@daily", catchup=False, **LONG_AGO):
    LockedOperator(
        task_id="work", operator=PythonOperator, python_callable=work, op_kwargs={"seconds": 1}, lock="backfill"
    )

with DAG("survival_asks", schedule=None):
    LockedOperator(task_id="work", operator=HITLOperator, subject="go on?", options=["yes", "no"], lock="asks")

with DAG("survival_reschedules", schedule=None):
    LockedOperator(
        task_id="work",
        operator=PythonSensor,
        python_callable=second_poke,
        mode="reschedule",
        poke_interval=3,
        lock="reschedules",
    )
