"""
### One lease over several tasks

`extract → (stage → count, report → publish) → tell`

**What it shows.** The four tasks in the middle belong together: nobody else may touch the table `demo.scope_sales`
from the first to the last of them, also not between two of them. `lock_scope("dwh.sales")` takes the lock once, before
`stage`, keeps it in the triggerer (no worker slot), and gives it back after `publish`, also when one of them fails.
`count` and `report` run at the same time under the one lease. All of them see its token; the writes are guarded.

The scope is a TaskGroup: what stands before it (`extract`) runs without the lock, and what follows (`tell`) does not
wait for its release.

**Try it.** Trigger the DAG twice right after each other. The second run's `sales.acquire_lock` is *deferred* until the
first run's `sales.release_lock` is done; `select * from demo.scope_sales` shows the tokens of both. Mark one of the
four tasks failed while it runs: the lock is free a moment later.

**One step alone.** Clear the task in an earlier run: Airflow clears the scope's own tasks with it, so it runs under a
lock again. Or `airflow tasks test scope_of_locks sales.count RUN_ID` with the id of a finished run (always give one:
`docs/examples.md` says why): the scope is over, so the task takes the lock itself.

**Needs** the connection `dwh_default` (Postgres, after `airflow locks init`) with the schema `demo`.
"""

from __future__ import annotations

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import DAG, Param, task

from airflow_lockprovider import lock_scope


def guarded(task_id: str, *sql: str) -> SQLExecuteQueryOperator:
    """Statements that are one transaction, and fail if the lease is no longer ours."""
    statements = ["{{ lease.guard }}", *sql]
    return SQLExecuteQueryOperator(task_id=task_id, conn_id="dwh_default", autocommit=False, sql=statements)


with DAG(
    "scope_of_locks",
    schedule=None,
    catchup=False,
    tags=["lockprovider", "scope"],
    params={"report_seconds": Param(5, type="number", minimum=0, maximum=600, title="Seconds of report")},
    doc_md=__doc__,
):

    @task
    def extract():
        return [120, 80, 40]

    @task
    def report(params=None, lease=None):
        import time

        time.sleep(params["report_seconds"])
        print(f"reported while nobody else writes: {lease}")

    @task
    def tell():
        print("published, the lock is free again")

    amounts = extract()
    with lock_scope("dwh.sales", group_id="sales") as sales:
        stage = guarded(
            "stage",
            "create table if not exists demo.scope_sales (run_id text, amount int, token bigint, published bool)",
            "insert into demo.scope_sales select '{{ run_id }}', amount, {{ lease.token }}, false "
            "from unnest(array{{ ti.xcom_pull('extract') }}) amount",
        )
        count = guarded("count", "select count(*) from demo.scope_sales where token = {{ lease.token }}")
        publish = guarded("publish", "update demo.scope_sales set published = true where token = {{ lease.token }}")
        stage >> [count, report()] >> publish
    amounts >> sales >> tell()
