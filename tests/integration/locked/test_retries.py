"""What is retried: the outcome of a failure around a lock, with `LockRetryPolicy` and without."""

from __future__ import annotations

import time
import uuid
from datetime import timedelta

import pytest
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG
from airflow.sdk.definitions.retry_policy import ExceptionRetryPolicy, RetryAction, RetryRule
from airflow.sdk.exceptions import AirflowException, AirflowSkipException
from airflow.serialization.serialized_objects import DagSerialization

from airflow_lockprovider import Lock, LockedOperator, LockRetryPolicy
from airflow_lockprovider.exceptions import LeaseLost, StoreUnavailable


def python(callable_, lock="dwh.sales", policy=None, operator=PythonOperator, **kwargs):
    policy = policy or LockRetryPolicy()
    with DAG("a_dag", schedule=None):
        return LockedOperator(
            task_id="load",
            operator=operator,
            python_callable=callable_,
            lock=lock,
            retries=3,
            retry_policy=policy,
            **kwargs,
        )


def raising(error):
    def body():
        raise error

    return body


def loses(hook, then=lambda: time.sleep(30)):
    def body():
        hook.revoke("dwh.sales", by="ann", reason="stuck")
        return then()

    return body


def test_a_lost_lock_is_asked_for_anew_at_once(hook, run):
    outcome = run(python(loses(hook), lock=Lock("dwh.sales", ttl=1)), should_retry=True)

    assert outcome.state == "up_for_retry"
    assert outcome.message.retry_delay_seconds == 0
    assert "ann" in outcome.message.retry_reason
    assert hook.leases() == []


def test_the_retry_is_a_new_owner_that_waits_in_line_like_anybody(hook, run):
    outcome = run(python(loses(hook), lock=Lock("dwh.sales", ttl=1)), should_retry=True)
    hook.try_acquire("dwh.sales")

    again = run(python(print), ti_id=uuid.uuid4())

    assert again.state == "deferred"
    assert [waiter.owner_id for waiter in hook.queue()] != [str(outcome.context["ti"].id)]


def test_a_wait_that_took_too_long_is_not_begun_again_at_the_end_of_the_line(hook, run):
    hook.try_acquire("dwh.sales")
    outcome = run(python(print, lock=Lock("dwh.sales", on_busy="fail")), should_retry=True)

    assert outcome.state == "failed"


def test_a_wait_may_be_retried_if_one_wants_that(hook, run):
    hook.try_acquire("dwh.sales")
    task = python(print, lock=Lock("dwh.sales", on_busy="fail"), policy=LockRetryPolicy(retry_wait_timeout=True))

    assert run(task, should_retry=True).state == "up_for_retry"


def test_what_a_person_has_to_mend_is_not_retried(hook, run):
    hook.set_capacity("dwh.sales", 2)
    outcome = run(python(print, lock=Lock("dwh.sales", capacity=3)), should_retry=True)

    assert outcome.state == "failed"
    assert "capacity" in str(outcome.error)


def test_a_warehouse_that_does_not_answer_is_retried_after_the_tasks_own_delay(hook, run, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", "postgresql://nobody:x@127.0.0.1:1/none")
    outcome = run(python(print), should_retry=True)

    assert isinstance(outcome.error, StoreUnavailable)
    assert outcome.state == "up_for_retry"
    assert outcome.message.retry_delay_seconds is None


def test_other_failures_are_as_without_the_policy(hook, run):
    assert run(python(raising(ValueError("boom"))), should_retry=True).message.retry_delay_seconds is None
    assert run(python(raising(ValueError("boom"))), should_retry=False).state == "failed"


def test_other_failures_are_for_the_other_policy(hook, run):
    other = ExceptionRetryPolicy([RetryRule(ValueError, RetryAction.FAIL)])
    task = python(raising(ValueError("boom")), policy=LockRetryPolicy(otherwise=other))

    assert run(task, should_retry=True).state == "failed"


def test_no_policy_gives_more_retries_than_the_task_has(hook, run):
    assert run(python(loses(hook), lock=Lock("dwh.sales", ttl=1)), should_retry=False).state == "failed"


def test_the_delay_after_a_loss_can_be_chosen(hook, run):
    task = python(raising(LeaseLost("gone")), policy=LockRetryPolicy(lost_delay=timedelta(minutes=2)))
    assert run(task, should_retry=True).message.retry_delay_seconds == 120


@pytest.mark.parametrize("made_of_it", [AirflowException("it failed"), AirflowSkipException("nothing to do")])
def test_a_body_that_makes_something_else_of_the_loss_still_fails_with_it_and_its_work_is_stopped(
    hook, run, made_of_it
):
    killed = []

    class Killable(PythonOperator):
        def on_kill(self):
            killed.append(1)

    def swallow():
        try:
            time.sleep(30)
        except Exception:
            raise made_of_it from None

    outcome = run(python(loses(hook, swallow), lock=Lock("dwh.sales", ttl=1), operator=Killable), should_retry=True)

    assert isinstance(outcome.error, LeaseLost)
    assert outcome.state == "up_for_retry"
    assert killed == [1]


def test_a_dag_with_the_policy_serialises():
    with DAG("a_dag", schedule=None) as dag:
        LockedOperator(
            task_id="load", operator=PythonOperator, python_callable=print, lock="x", retry_policy=LockRetryPolicy()
        )
    (encoded,) = DagSerialization.to_dict(dag)["dag"]["tasks"]
    assert encoded["__var"]["has_retry_policy"] is True
