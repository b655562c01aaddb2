"""What cannot be locked honestly, and what to do instead."""

from __future__ import annotations

from typing import Any

from airflow_lockprovider.lease.errors import ConfigurationError


def refuse_class(base: type) -> None:
    """Raise ConfigurationError if no task of this operator class can be locked."""
    if getattr(base, "inherits_from_empty_operator", False) is True:
        raise ConfigurationError(
            f"{base.__name__} cannot be locked: Airflow's scheduler marks it successful without ever running it. "
            "Lock the task that does the work"
        )


def refuse_task(task: Any) -> None:
    """Raise ConfigurationError if this task cannot be locked because of its arguments."""
    who = f"task {task.task_id!r} ({type(task).__name__}) cannot be locked"
    if getattr(task, "wait_for_completion", False) is True and _is_a(task, "TriggerDagRunOperator"):
        raise ConfigurationError(
            f"{who} with wait_for_completion=True: Airflow waits for the other DAG after the task's own work, when the "
            "lock is already given back. Lock the task in the triggered DAG instead"
        )
    if getattr(task, "start_from_trigger", False) is True:
        raise ConfigurationError(
            f"{who} with start_from_trigger=True: it would start in the triggerer, before any lock. "
            "Set start_from_trigger=False (its deferral is then kept under the lock)"
        )


def _is_a(task: Any, class_name: str) -> bool:
    return any(cls.__name__ == class_name for cls in type(task).__mro__)
