"""What cannot be locked honestly, and what to do instead."""

from __future__ import annotations

from typing import Any

from airflow_lockprovider.lease.errors import ConfigurationError


def is_never_run(base: type) -> bool:
    """Whether Airflow's scheduler marks tasks of this class successful without running them."""
    return getattr(base, "inherits_from_empty_operator", False) is True


def refuse_class(base: type) -> None:
    """Raise ConfigurationError if no task of this operator class can be locked."""
    if is_never_run(base):
        raise ConfigurationError(
            f"{base.__name__} cannot be locked: Airflow's scheduler marks it successful without ever running it. "
            "Lock the task that does the work"
        )
    if getattr(base, "is_stub", False) is True:
        raise ConfigurationError(
            "@task.stub cannot be locked: its work runs in another language's worker, where this package is not. "
            "Take the lock in that work, by SQL (docs/engine.md)"
        )


def refuse_task(task: Any) -> None:
    """Raise ConfigurationError if this task cannot be locked because of its arguments."""
    _refuse(
        task,
        type(task),
        waits=getattr(task, "wait_for_completion", False),
        starts_in_triggerer=getattr(task, "start_from_trigger", False),
    )


def refuse_mapped(task: Any) -> None:
    """The same for a mapped operator, as far as its arguments are known when the DAG is parsed."""
    given = task.partial_kwargs
    _refuse(
        task,
        task.operator_class,
        waits=given.get("wait_for_completion", False),
        starts_in_triggerer=task.start_from_trigger,
    )


def _refuse(task: Any, operator: type, *, waits: object, starts_in_triggerer: object) -> None:
    if waits is not True and starts_in_triggerer is not True:
        return
    who = f"task {task.task_id!r} ({operator.__name__}) cannot be locked"
    if waits is True and any(cls.__name__ == "TriggerDagRunOperator" for cls in operator.__mro__):
        raise ConfigurationError(
            f"{who} with wait_for_completion=True: Airflow waits for the other DAG after the task's own work, when the "
            "lock is already given back. Lock the task in the triggered DAG instead"
        )
    if starts_in_triggerer is True:
        raise ConfigurationError(
            f"{who} with start_from_trigger=True: it would start in the triggerer, before any lock. "
            "Set start_from_trigger=False (its deferral is then kept under the lock)"
        )
