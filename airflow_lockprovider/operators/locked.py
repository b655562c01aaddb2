"""The doors: `LockedOperator`, `locked` and `with_lock`."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

from airflow_lockprovider.compat import BaseOperator, MappedOperator, XComArg
from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.operators.link import LockLink
from airflow_lockprovider.operators.mixin import LockedMixin, LockLike
from airflow_lockprovider.operators.refusal import refuse_class, refuse_task

Task = TypeVar("Task")


@cache
def locked(base: type) -> type:
    """The class ``base`` with a lock: takes all its arguments, and ``lock``.

    It keeps the name and module of ``base``, so that the UI, plugin links and metrics go on as before. The same
    class is returned every time. Raises ConfigurationError for classes that cannot be locked.
    """
    if not (isinstance(base, type) and issubclass(base, BaseOperator)):
        raise ConfigurationError(f"{base!r} is no operator class")
    if issubclass(base, LockedMixin):
        return base
    refuse_class(base)
    links = base.operator_extra_links
    namespace = {
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
        "template_fields": (*base.template_fields, "lock_name"),
        "operator_extra_links": (*(() if isinstance(links, property) else links), LockLink()),
        "custom_operator_name": f"{getattr(base, 'custom_operator_name', base.__name__)} \N{LOCK}",
    }
    metaclass: Any = type(base)
    made: type = metaclass(base.__name__, (LockedMixin, base), namespace)
    return made


def with_lock(task: Task, lock: LockLike) -> Task:
    """Put a lock on an existing task: an operator, a mapped operator, or what a TaskFlow call returned. In place."""
    if isinstance(task, XComArg):
        with_lock(task.operator, lock)  # type: ignore[attr-defined]
        return task
    if isinstance(task, MappedOperator):
        cls: Any = locked(task.operator_class)
        task.operator_class = cls
        task.template_fields = cls.template_fields
        task.operator_extra_links = cls.operator_extra_links
        task._operator_name = cls.custom_operator_name
        task.partial_kwargs = {**task.partial_kwargs, "lock": lock}
        return task
    if not isinstance(task, BaseOperator):
        raise ConfigurationError(f"{task!r} is no task, so it cannot be locked")
    if isinstance(task, LockedMixin):
        raise ConfigurationError(f"task {task.task_id!r} has a lock already: {task.lock_name!r}")
    refuse_task(task)
    # The one place where a class is swapped. Nothing else gives a lock to an operator whose construction is not ours
    # (a task of somebody else's factory, a cluster policy).
    object.__setattr__(task, "__class__", locked(type(task)))
    changed: Any = task
    changed._declare_lock(lock)
    changed._BaseOperator__init_kwargs["lock"] = lock
    return task


class LockedOperator:
    """Any operator, with a lock.

    ::

        LockedOperator(task_id="load", operator=GlueJobOperator, lock="dwh.sales", job_name="load")
        LockedOperator[GlueJobOperator].partial(task_id="load", lock="dwh.sales").expand(job_name=[...])
        LockedOperator(operator=existing_task, lock="dwh.sales")

    The result is a task of the wrapped operator's own type, with the same fields, links and retries.
    """

    def __new__(cls, *, operator: Any, lock: LockLike, **kwargs: Any) -> Any:
        if isinstance(operator, type):
            return locked(operator)(lock=lock, **kwargs)
        if kwargs:
            raise ConfigurationError(
                f"LockedOperator(operator=<task>) takes no {', '.join(map(repr, kwargs))}: give them to the task itself"
            )
        return with_lock(operator, lock)

    def __class_getitem__(cls, operator: type) -> Any:
        return locked(operator)
