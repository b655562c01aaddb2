"""
### Two DAGs share Node B: the first

`start → node_a → node_b → node_c → end`

**What it shows.** `node_b` is also part of the DAG `node_b_second`. The lock `node_b` lets only one of them in; the
other one waits in the triggerer, where it costs no worker slot, and goes on when the lock is free. Here the door is
the decorator `@task.locked`; the step itself is the module `shared_steps/node_b.py`, which both DAGs import.

**Try it.** Trigger this DAG and `node_b_second` right after each other. One `node_b` is *running*, the other one
*deferred*; its log says who holds the lock. Then look into the table `demo.node_b_run`: the times never overlap, the
tokens grow.

**Node B alone.** Choose `node_b` under *Only this step* in the trigger form; or clear the task `node_b` of an earlier
run; or `airflow tasks test node_b_first node_b RUN_ID` with the id of a finished run (always give one:
`docs/examples.md` says why). It takes the lock each time.

**Needs** the connection `dwh_default` (Postgres, after `airflow locks init`) with the table `demo.node_b_run`.
"""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, task
from shared_steps import node_b
from shared_steps.only_step import STEP_DEFAULTS, only_step

with DAG(
    "node_b_first",
    schedule=None,
    catchup=False,
    tags=["lockprovider", "node-b"],
    params={"node_b_seconds": node_b.node_b_seconds(), "only_step": only_step("node_a", "node_b", "node_c")},
    default_args=STEP_DEFAULTS,
    doc_md=__doc__,
):

    @task
    def node_a():
        print("Node A prepares")

    @task.locked(task_id="node_b", lock=node_b.LOCK)
    def locked_node_b(lease=None, params=None, ti=None):
        return node_b.run_node_b(lease, params, ti)

    @task
    def node_c():
        print("Node C goes on with what Node B has made")

    EmptyOperator(task_id="start") >> node_a() >> locked_node_b() >> node_c() >> EmptyOperator(task_id="end")
