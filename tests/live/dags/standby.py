"""Tasks that are handed one lock, some of them from task to task on their workers."""

from __future__ import annotations

import time

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG

from airflow_lockprovider import Lock, LockedOperator


def work(seconds: float) -> None:
    time.sleep(seconds)


for number in range(4):
    with DAG(f"short_{number}", schedule=None):
        LockedOperator(
            task_id="work",
            operator=PythonOperator,
            python_callable=work,
            op_args=[1],
            lock=Lock("short", expected_hold=1),
        )

for name, seconds in (("long_holder", 30), ("long_waiter", 0)):
    with DAG(name, schedule=None):
        LockedOperator(
            task_id="work",
            operator=PythonOperator,
            python_callable=work,
            op_args=[seconds],
            lock=Lock("long", expected_hold=30),
        )
