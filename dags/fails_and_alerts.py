"""
### A failure reaches people at once

`fail_under_lock`

**What it shows.** The task takes the lock `fails_and_alerts` and then fails on purpose. Its `on_failure_callback`
sends an event to the EventBridge bus `lockprovider-alerts`, for programs, and a mail, for people. Both say who failed
and why, which lock and token the task held, and where its log is. The lock is given back before anybody reads that.

**Try it.** Trigger the DAG; it fails. The mail lies in the demo's mail sink, the event in the SQS queue
`lockprovider-alerts`.

**One step alone.** There is only one: clear it, or `airflow tasks test fails_and_alerts fail_under_lock RUN_ID` with
the id of a finished run (always give one: `docs/examples.md` says why).

**Needs** the connections `dwh_default` (Postgres, after `airflow locks init`), `aws_region1` and `smtp_default`.
"""

from __future__ import annotations

from airflow.sdk import DAG, task
from shared_steps.alerts import alerts

with DAG(
    "fails_and_alerts",
    schedule=None,
    catchup=False,
    tags=["lockprovider", "alerts"],
    doc_md=__doc__,
):

    @task.locked(lock="fails_and_alerts", retries=0, on_failure_callback=alerts())
    def fail_under_lock(lease=None):
        raise RuntimeError(f"planned failure while holding {lease.lock_name!r} with token {lease.token}")

    fail_under_lock()
