"""``@task.locked``: a TaskFlow function with a lock."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from airflow.providers.standard.decorators.python import _PythonDecoratedOperator

from airflow_lockprovider.compat import task_decorator_factory
from airflow_lockprovider.operators.locked import check_lock, locked
from airflow_lockprovider.operators.wanted import LockLike


@cache
def _locked_function() -> Any:
    cls: Any = locked(_PythonDecoratedOperator)
    namespace = {name: getattr(cls, name) for name in ("__module__", "__qualname__", "__doc__")}
    return type(cls)(cls.__name__, (cls,), {**namespace, "_lock_named_after_task": True})


def locked_task(
    python_callable: Callable[..., Any] | None = None,
    *,
    lock: LockLike | None = None,
    multiple_outputs: bool | None = None,
    **kwargs: Any,
) -> Any:
    """Run a Python function under a lock.

    The function may ask for the lease with an argument ``lease=None``. Without ``lock`` it is the one of the
    ``default_args``, else the lock is called after the task: ``dag_id.task_id``.
    """
    if lock is not None:
        check_lock(lock)
        kwargs["lock"] = lock
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=multiple_outputs,
        decorated_operator_class=_locked_function(),
        **kwargs,
    )
