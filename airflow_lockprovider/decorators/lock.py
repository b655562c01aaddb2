"""``@lock(…)`` above any ``@task.*``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from airflow_lockprovider.compat import is_decorated_task
from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.operators.locked import check_lock, locked
from airflow_lockprovider.operators.wanted import LockLike

Decorated = TypeVar("Decorated")


def lock(lock: LockLike | None) -> Callable[[Decorated], Decorated]:
    """Put a lock on a TaskFlow function of any kind. Stands above its ``@task``::

        @lock("dwh.sales")
        @task.bash
        def load() -> str: ...

    ``lock`` is a name, a `Lock`, a mapping or a list of these, as everywhere; names are templated. In an
    ``override(lock=…)`` it is replaced, with None it is taken off.
    """
    check_lock(lock)

    def decorate(decorated: Decorated) -> Decorated:
        task: Any = decorated
        if not is_decorated_task(task):
            name = getattr(task, "__name__", repr(task))
            raise ConfigurationError(
                f"@lock({lock!r}) on {name} must stand above @task or one of its kind"
                " (for a task that is already there: with_lock(task, …); for a group: lock_scope)"
            )
        if "lock" in task.kwargs:
            raise ConfigurationError(f"{task.function.__name__} has a lock already: {task.kwargs['lock']!r}")
        task.operator_class = locked(task.operator_class)
        task.kwargs["lock"] = lock
        return decorated

    return decorate


lock.lockprovider_decorator = True  # type: ignore[attr-defined]  # see operators/source.py
