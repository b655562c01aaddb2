"""
### Two DAGs share Node B: the second

`start → node_d → node_b → node_e → end`

**What it shows.** The same Node B as in the DAG `node_b_first`, under the same lock, through another door:
`LockedOperator` around an ordinary operator. The step is not copied: both DAGs import `shared_steps/node_b.py`. What
makes it one step for the lock is its name, `node_b`; DAG and task may be called what they like.

**Try it.** Trigger this DAG and `node_b_first` right after each other, see there.

**Node B alone.** Choose `node_b` under *Only this step* in the trigger form; or clear the task `node_b` of an earlier
run; or `airflow tasks test node_b_second node_b RUN_ID` with the id of a finished run (always give one:
`docs/examples.md` says why). It takes the lock each time.

**Needs** the connection `dwh_default` (Postgres, after `airflow locks init`) with the table `demo.node_b_run`.
"""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, task
from shared_steps import node_b
from shared_steps.only_step import STEP_DEFAULTS, only_step

from airflow_lockprovider import LockedOperator

with DAG(
    "node_b_second",
    schedule=None,
    catchup=False,
    tags=["lockprovider", "node-b"],
    params={"node_b_seconds": node_b.node_b_seconds(), "only_step": only_step("node_d", "node_b", "node_e")},
    default_args=STEP_DEFAULTS,
    doc_md=__doc__,
):

    @task
    def node_d():
        print("Node D prepares")

    locked_node_b = LockedOperator(
        task_id="node_b",
        operator=PythonOperator,
        lock=node_b.LOCK,
        python_callable=node_b.run_node_b,  # asks for lease, params and ti by name
    )

    @task
    def node_e():
        print("Node E goes on with what Node B has made")

    EmptyOperator(task_id="start") >> node_d() >> locked_node_b >> node_e() >> EmptyOperator(task_id="end")
