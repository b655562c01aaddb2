"""
### A dead man's switch: somebody is told when a run is not done in time

`work`

**What it shows.** A callback tells of what fails. Nobody calls it for a run that hangs, that waits for a lock all
morning, or whose workers are gone. A *deadline* does not need the task: Airflow's scheduler watches it, and the
triggerer sends the alert while the run still goes on. Here a run has 30 seconds from the moment it is queued. The alert
goes through `AlertNotifier` to two channels: a mail for people, an event on the bus `lockprovider-alerts` for programs.

**Try it.** Trigger the DAG with `seconds` = 60: after half a minute the mail says "deadline missed", and the run
succeeds nevertheless. With the 5 seconds of the form nobody is told.

**One step alone.** There is only one: clear it, or `airflow tasks test must_be_done_by work RUN_ID` with the id of a
finished run (always give one: `docs/examples.md` says why).

**Needs** the connections `dwh_default` (Postgres, after `airflow locks init`), `aws_region1` and `smtp_default`.
"""

from __future__ import annotations

import time
from datetime import timedelta

from airflow.sdk import DAG, AsyncCallback, DeadlineAlert, DeadlineReference, Param, task

from airflow_lockprovider.notifications import AlertNotifier

# The callback travels as JSON to the triggerer: so the channels are named, not made.
alert = AsyncCallback(
    AlertNotifier,
    kwargs={
        "name": "deadlines",
        "channels": [
            {
                "notifier": "airflow_lockprovider.notifications.FailureEmail",
                "to": "data-team@example.com",
                "from_email": "airflow@example.com",
            },
            {
                "notifier": "airflow_lockprovider.notifications.EventBridgeNotifier",
                "event_bus": "lockprovider-alerts",
                "aws_conn_id": "aws_region1",
            },
        ],
    },
)

with DAG(
    "must_be_done_by",
    schedule=None,
    catchup=False,
    tags=["lockprovider", "alerts"],
    doc_md=__doc__,
    params={"seconds": Param(5, type="integer", minimum=1, maximum=600, description="How long the work takes.")},
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(seconds=30),
        callback=alert,
    ),
):

    @task.locked(lock="must_be_done_by")
    def work(params=None):
        time.sleep(params["seconds"])

    work()
