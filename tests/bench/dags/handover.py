"""Eight one-second tasks that must not overlap, in the ways that people know; each notes when its body ran."""

from __future__ import annotations

import os
import time

import psycopg
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG

from airflow_lockprovider import Lock, LockedOperator

TASKS = 8


def body(way: str, round_: str = "{{ run_id }}") -> None:
    start = time.time()
    time.sleep(1)
    end = time.time()
    with psycopg.connect(os.environ["AIRFLOW_CONN_DWH_DEFAULT"]) as connection:
        connection.execute(
            "insert into bench_body (way, run_id, started, ended) values (%s, %s, %s, %s)", (way, round_, start, end)
        )


def once(way: str, number: int, **options) -> None:
    with DAG(f"{way}_{number}", schedule=None):
        given = {"task_id": "body", "python_callable": body, "op_args": [way, "{{ run_id }}"]}
        if "lock" in options:
            LockedOperator(operator=PythonOperator, **given, **options)
        else:
            PythonOperator(**given, **options)


for number in range(TASKS):
    once("pool", number, pool="bench_one_slot")
    once("never", number, lock=Lock("bench.never", standby="never"))
    once("auto", number, lock=Lock("bench.auto", standby="auto"))

with DAG("chain", schedule=None):
    before = None
    for number in range(TASKS):
        task = PythonOperator(task_id=f"body_{number}", python_callable=body, op_args=["chain", "{{ run_id }}"])
        if before is not None:
            before >> task
        before = task

for way in ("never", "auto"):
    with DAG(f"waits_{way}", schedule=None, max_active_tasks=1000):
        LockedOperator[PythonOperator].partial(
            task_id="wait", python_callable=time.sleep, lock=Lock(f"bench.waits_{way}", standby=way)
        ).expand(op_args=[[0]] * 50)
