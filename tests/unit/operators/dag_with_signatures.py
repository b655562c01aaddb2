"""What mypy says about a DAG file. A line with ``# wrong`` has to be an error, the others have to be none."""

from __future__ import annotations

from typing import assert_type

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, task
from airflow.sdk.definitions.mappedoperator import MappedOperator

from airflow_lockprovider import Lock, LockedOperator, lock, locked, with_lock

with DAG("signatures", schedule=None):
    load = LockedOperator(task_id="load", operator=PythonOperator, lock="dwh.sales", python_callable=print, retries=2)
    many = LockedOperator[BashOperator].partial(task_id="many", lock=Lock("x", ttl=60)).expand(bash_command=["a"])
    one = LockedOperator[BashOperator](task_id="one", lock=["a", Lock("b")], bash_command="true")
    two = locked(BashOperator)(task_id="two", lock={"name": "a", "lock_duration": "5 mins"}, bash_command="true")
    bare = BashOperator(task_id="three", bash_command="true")
    three = LockedOperator(operator=bare, lock="x")
    four = with_lock(BashOperator(task_id="four", bash_command="true"), "x")

    assert_type(load, PythonOperator)
    assert_type(many, MappedOperator)
    assert_type(one, BashOperator)
    assert_type(two, BashOperator)
    assert_type(three, BashOperator)
    assert_type(four, BashOperator)

    @task.locked(lock="x")
    def function(month: str) -> None: ...

    @lock(Lock("x", on_busy="skip"))
    @task.bash
    def command(month: str) -> str:
        return "true"

    load >> [one, two, three] >> four
    four >> command("2026-01") >> function("2026-01")
    command.expand(month=["2026-01", "2026-02"])

    LockedOperator(task_id="a", operator=PythonOperator, lok="dwh.sales")  # wrong
    LockedOperator(task_id="a", operator=PythonOperator)  # wrong
    LockedOperator(task_id="a", operator=PythonOperator, lock=3)  # wrong
    LockedOperator(task_id="a", operator=PythonOperator, lock="x", retries="three")  # wrong
    LockedOperator[BashOperator](task_id="a", lock=2)  # wrong
    LockedOperator[BashOperator].partial(task_id=3, lock="x")  # wrong
    locked(BashOperator)(task_id="two", lock=2)  # wrong
    with_lock(BashOperator(task_id="a", bash_command=""), "x").no_method_of_it()  # wrong
    with_lock(BashOperator(task_id="a", bsh_command=""), "x")  # wrong
    Lock("x", on_busy="explode")  # wrong
    command(3)  # wrong

    @lock(3)  # wrong
    @task
    def other() -> None: ...
