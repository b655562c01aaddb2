"""``@task.locked``: a TaskFlow function with a lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow.providers.standard.decorators.python import _PythonDecoratedOperator

from airflow_lockprovider.compat import task_decorator_factory
from airflow_lockprovider.operators.locked import locked
from airflow_lockprovider.operators.mixin import LockLike


def locked_task(
    python_callable: Callable[..., Any] | None = None,
    *,
    lock: LockLike | None = None,
    multiple_outputs: bool | None = None,
    **kwargs: Any,
) -> Any:
    """Run a Python function under a lock.

    The function may ask for the lease with an argument ``lease=None``. Without ``lock`` the lock is called after the
    task: ``dag_id.task_id``.
    """
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=multiple_outputs,
        decorated_operator_class=locked(_PythonDecoratedOperator),
        lock={} if lock is None else lock,
        **kwargs,
    )
