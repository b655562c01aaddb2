"""
### A pipeline that runs only once at a time

`work → report`

**What it shows.** Somebody triggers the pipeline while it is still running: the duplicate must not work, and must not
wait either. `on_busy="skip"` skips its `work`, and Airflow then skips `report`, too. The run ends as a success with
nothing done.

Behind it is the old idea of a *signal table*: a row says that the pipeline is on, and a second run that finds it on
goes home. Done by hand the row stays on for ever when its owner dies. Here the row is the lease: it expires when
nobody renews it, and reading and setting it is one step in the database. `work` prints its row of the view
`lockprovider.locks`.

**Try it.** Trigger the DAG twice within the seconds of *Seconds of work*; look at the second run's log of `work`: it
names the run that is at it. The table `demo.pipeline_run` has one row for the two runs.

**One step alone.** Clear the task in an earlier run, or `airflow tasks test runs_once work RUN_ID` with the id of a
finished run (always give one: `docs/examples.md` says why).

**What it does not do.** The lock covers `work`, not the time after it: a run that comes while `report` runs may work.
Put what must be alone into the locked task.

**Needs** the connection `dwh_default` (Postgres, after `airflow locks init`) with the table `demo.pipeline_run`.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param, task
from shared_steps.pipeline_run import record_run

from airflow_lockprovider import Lock

with DAG(
    "runs_once",
    schedule=None,
    catchup=False,
    tags=["lockprovider", "skip"],
    params={"work_seconds": Param(10, type="number", minimum=0, maximum=600, title="Seconds of work")},
    doc_md=__doc__,
):

    @task.locked(lock=Lock("pipeline.runs_once", on_busy="skip"))
    def work(lease=None, params=None, ti=None):
        return record_run(lease, params["work_seconds"], ti)

    @task
    def report(token):
        print(f"the work was done under token {token}")

    report(work())
