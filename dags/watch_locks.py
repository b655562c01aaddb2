"""
### The watch: somebody hears of it when a lock is in trouble

`look_at_all_locks`, every minute

**What it shows.** One task looks at all leases and queues: held too long, not renewed, an owner that is dead, somebody
who waits too long, a queue that is too long or grows steadily. It alerts over the channels below, at once the first
time, then at growing intervals, and says when it is over. It also removes what has expired, and sets the gauges of the
metrics.

**Try it.** Unpause the DAG (it is paused at first). Trigger `node_b_first` with 600 seconds and set
`[lockprovider] watch_held` to `1 min`: an alert comes in the second minute, and RECOVERED when Node B is done.

**One step alone.** There is only one, and it takes no lock: clear it, or
`airflow tasks test watch_locks look_at_all_locks RUN_ID` with the id of a finished run. On a command line:
`airflow locks check`.

**Needs** the connections `dwh_default` (Postgres, after `airflow locks init`), `aws_region1` and `smtp_default`.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, task
from shared_steps.alerts import alerts

with DAG(
    "watch_locks",
    schedule="* * * * *",
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=True,
    dagrun_timeout=timedelta(minutes=30),
    tags=["lockprovider", "alerts"],
    doc_md=__doc__,
):
    # It fails where the warehouse does not answer. Then nobody can count alerts there: so it tries for a while first.
    @task(retries=4, retry_delay=timedelta(minutes=2), on_failure_callback=alerts())
    def look_at_all_locks():
        from airflow_lockprovider.notifications import AlertNotifier
        from airflow_lockprovider.notifications.watch import watch_locks

        return [
            f"{problem.lock_name}: {problem.kind}" for problem in watch_locks(notifier=AlertNotifier(channels=alerts()))
        ]

    look_at_all_locks()
