"""For tests/live/test_alerts.py: tasks that fail, and nobody wrote a callback."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, AsyncCallback, DeadlineAlert, DeadlineReference, task

from airflow_lockprovider.notifications import AlertNotifier

HERE = Path(__file__).parent

with DAG("alert_killed", schedule=None):

    @task.locked(lock="alert_killed")
    def work():
        (HERE / "alert_killed.pid").write_text(str(os.getpid()))
        time.sleep(600)

    work()

with DAG("alert_lost", schedule=None):

    @task.locked(lock="alert_lost")
    def work_on_a_lost_worker():
        (HERE / "alert_lost.pids").write_text(f"{os.getppid()} {os.getpid()}")
        time.sleep(600)

    @task
    def goes_on_meanwhile():
        while not (HERE / "alert_lost.over").exists():
            time.sleep(0.5)

    work_on_a_lost_worker()
    goes_on_meanwhile()

with DAG("alert_forgotten", schedule=None):

    @task
    def work_or_fail(params=None, dag_run=None):
        if not (dag_run.conf or {}).get("works"):
            raise ValueError("no such file: orders.csv")

    work_or_fail()

alerts = AlertNotifier()  # the configured channels, which the listener has, too
with DAG("alert_by_callback", schedule=None, default_args={"on_failure_callback": alerts}):

    @task
    def fail():
        raise ValueError("told by the callback")

    fail()

with DAG(
    "alert_deadline",
    schedule=None,
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(seconds=2),
        callback=AsyncCallback(AlertNotifier, kwargs={"name": "deadlines"}),
    ),
):

    @task
    def takes_long():
        time.sleep(20)

    takes_long()
