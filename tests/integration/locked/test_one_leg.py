"""A locked task whose lock is free: one leg, no deferral."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator, ShortCircuitOperator
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException, AirflowRescheduleException, AirflowSkipException

from airflow_lockprovider import Lock, LockedOperator, locked, with_lock
from airflow_lockprovider.exceptions import LeaseLost, LeaseWaitTimeout, StoreUnavailable


def python(callable_, lock="dwh.sales", **kwargs):
    with DAG("a_dag", schedule=None):
        return LockedOperator(task_id="load", operator=PythonOperator, python_callable=callable_, lock=lock, **kwargs)


def events(hook, lock="dwh.sales"):
    return [event.event for event in reversed(hook.history(lock))]


def test_the_lock_is_held_while_the_body_runs_and_given_back_afterwards(hook, run):
    seen = []
    outcome = run(python(lambda: seen.extend(hook.leases("dwh.sales"))))

    assert outcome.state == "success"
    assert [lease.owner for lease in seen] == ["a_dag/a_run/load#1"]
    assert seen[0].owner_id == str(outcome.context["ti"].id)
    assert seen[0].context["task_id"] == "load"
    assert hook.leases() == []
    assert events(hook) == ["granted", "released"]


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (ValueError("boom"), "failed"),
        (AirflowFailException("boom"), "failed"),
        (AirflowSkipException("nothing to do"), "skipped"),
        (SystemExit(3), "failed"),
    ],
)
def test_the_lock_is_given_back_however_the_body_ends(hook, run, error, state):
    def body():
        raise error

    assert run(python(body)).state == state
    assert hook.leases() == []


def test_a_task_that_will_be_retried_does_not_keep_the_lock_through_its_back_off(hook, run):
    outcome = run(python(lambda: 1 / 0), should_retry=True)

    assert outcome.state == "up_for_retry"
    assert hook.leases() == []


def test_a_short_circuit_keeps_its_meaning_under_a_lock(hook, run):
    with DAG("a_dag", schedule=None):
        check = LockedOperator(
            task_id="check", operator=ShortCircuitOperator, python_callable=lambda: False, lock="dwh.sales"
        )
        check >> PythonOperator(task_id="after", python_callable=print)

    outcome = run(check)

    assert outcome.state == "success"
    assert "SkipDownstreamTasks" in [type(message).__name__ for message in outcome.sent]
    assert hook.leases() == []


def test_a_rescheduled_sensor_gives_the_lock_back_between_its_pokes(hook, run):
    from airflow.sdk import timezone

    def body():
        raise AirflowRescheduleException(timezone.utcnow() + timedelta(minutes=1))

    assert run(python(body)).state == "up_for_reschedule"
    assert hook.leases() == []


def test_an_execution_timeout_stops_the_body_before_the_lock_is_given_back(hook, run):
    import time

    held_when_killed = []

    class Slow(PythonOperator):
        def on_kill(self):
            held_when_killed.append(len(hook.leases("dwh.sales")))

    with DAG("a_dag", schedule=None):
        slow = locked(Slow)(
            task_id="slow",
            lock="dwh.sales",
            python_callable=lambda: time.sleep(30),
            execution_timeout=timedelta(seconds=0.3),
        )

    outcome = run(slow)

    assert type(outcome.error).__name__ == "AirflowTaskTimeout"
    assert held_when_killed == [1]
    assert hook.leases() == []


def test_templates_see_the_token_and_the_guard(hook, run):
    with DAG("a_dag", schedule=None):
        echo = LockedOperator(
            task_id="echo",
            operator=BashOperator,
            lock="dwh.{{ dag.dag_id }}",
            bash_command="echo '{{ lease.token }} {{ lease.guard | replace(\"'\", '') }}'"
            " $AIRFLOW_LEASE_TOKEN $AIRFLOW_LEASE_NAME",
        )

    outcome = run(echo)

    (granted,) = [event for event in hook.history("dwh.a_dag") if event.event == "granted"]
    assert (
        outcome.pushed()
        == f"{granted.token} select lockprovider.guard(dwh.a_dag, {granted.token}) {granted.token} dwh.a_dag"
    )
    assert str(granted.token) in str(outcome.rendered()["bash_command"])
    assert outcome.rendered()["lock_name"] == "dwh.a_dag"
    assert "AIRFLOW_LEASE_TOKEN" not in os.environ


def test_the_callback_of_a_failed_task_still_knows_the_lease(hook, run):
    outcome = run(python(lambda: 1 / 0))

    assert outcome.context["lease"].lock_name == "dwh.sales"


def test_a_taskflow_function_gets_the_lease_as_an_argument(hook, run):
    with DAG("a_dag", schedule=None):

        @task.locked(lock="dwh.sales")
        def load(lease=None):
            return lease.token

        load()
    outcome = run(_only_task("load", load))

    (granted,) = [event for event in hook.history("dwh.sales") if event.event == "granted"]
    assert outcome.pushed() == granted.token


def _only_task(task_id, decorated):
    with DAG("a_dag", schedule=None) as dag:
        decorated()
    return dag.get_task(task_id)


def test_with_lock_locks_a_task_that_exists_already(hook, run):
    seen = []
    with DAG("a_dag", schedule=None):
        plain = PythonOperator(task_id="load", python_callable=lambda: seen.extend(hook.leases("dwh.sales")))
    assert with_lock(plain, "dwh.sales") is plain

    assert run(plain).state == "success"
    assert len(seen) == 1


def test_a_busy_lock_skips_the_task_if_it_says_so(hook, run):
    hook.try_acquire("dwh.sales", owner="somebody")
    outcome = run(python(lambda: 1 / 0, lock=Lock("dwh.sales", on_busy="skip")))

    assert outcome.state == "skipped"
    assert hook.queue() == []


def test_a_busy_lock_fails_the_task_if_it_says_so_and_names_the_owner(hook, run):
    hook.try_acquire("dwh.sales", owner="somebody")
    outcome = run(python(print, lock=Lock("dwh.sales", on_busy="fail")))

    assert outcome.state == "failed"
    assert isinstance(outcome.error, LeaseWaitTimeout)
    assert "somebody" in str(outcome.error)


def test_a_disabled_lock_is_no_lock(hook, run):
    hook.try_acquire("a_dag.load")
    outcome = run(python(lambda: 42, lock={"lock_status": "disable", "lock_duration": "10 mins"}))

    assert outcome.pushed() == 42


def test_a_lock_without_a_name_is_called_after_its_task(hook, run):
    run(python(print, lock={"lock_status": "enable", "lock_duration": "10 mins"}))

    (granted, _released) = reversed(hook.history("a_dag.load"))
    assert granted.event == "granted"


def test_without_the_tables_the_task_fails_and_its_body_does_not_run(run, database, comms, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", database)
    ran = []
    outcome = run(python(lambda: ran.append(1)))

    assert outcome.state == "failed"
    assert "airflow locks init" in str(outcome.error)
    assert ran == []


def test_without_the_connection_the_task_fails_and_its_body_does_not_run(run, comms, monkeypatch):
    monkeypatch.delenv("AIRFLOW_CONN_DWH_DEFAULT", raising=False)
    ran = []
    outcome = run(python(lambda: ran.append(1)))

    assert outcome.state == "failed"
    assert "'dwh_default'" in str(outcome.error)
    assert "lease_conn_id" in str(outcome.error)
    assert ran == []


def test_with_the_warehouse_down_the_task_fails_and_its_body_does_not_run(run, comms, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", "postgresql://nobody:x@127.0.0.1:1/none")
    ran = []
    outcome = run(python(lambda: ran.append(1)))

    assert outcome.state == "failed"
    assert isinstance(outcome.error, StoreUnavailable)
    assert ran == []


def test_a_body_whose_lease_is_revoked_is_interrupted_and_the_task_fails(hook, run):
    import time

    killed = []

    class Slow(PythonOperator):
        def on_kill(self):
            killed.append(1)

    def body():
        hook.revoke("dwh.sales", by="ann", reason="stuck")
        time.sleep(30)

    with DAG("a_dag", schedule=None):
        slow = locked(Slow)(task_id="slow", lock=Lock("dwh.sales", ttl=1), python_callable=body)

    outcome = run(slow)

    assert outcome.state == "failed"
    assert isinstance(outcome.error, LeaseLost)
    assert "ann" in str(outcome.error)
    assert killed == [1]


def test_a_body_that_ignores_the_loss_of_its_lease_does_not_succeed(hook, run):
    import time

    def body():
        hook.revoke("dwh.sales", by="ann", reason="stuck")
        try:
            time.sleep(30)
        except LeaseLost:
            return "as if nothing had happened"

    outcome = run(python(body, lock=Lock("dwh.sales", ttl=1)))

    assert outcome.state == "failed"
    assert isinstance(outcome.error, LeaseLost)


def test_sigterm_unwinds_the_body_and_gives_the_lock_back(hook, run):
    import signal

    def body():
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the body went on after SIGTERM")

    outcome = run(python(body))

    assert type(outcome.error).__name__ == "TaskAborted"
    assert hook.leases() == []


def test_the_link_of_a_task_leads_to_the_log_of_who_holds_its_lock(hook, run):
    hook.try_acquire("dwh.sales", context={"log_url": "http://airflow/holder"})
    outcome = run(python(print, lock=Lock("dwh.sales", on_busy="skip")))

    assert outcome.pushed("_link_LockLink") == "http://airflow/holder"
