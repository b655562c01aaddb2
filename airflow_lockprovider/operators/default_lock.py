"""The lock in ``default_args``. Loads nothing else, as it is asked for every task of every DAG."""

from __future__ import annotations

from typing import Any

NO_DEFAULT: Any = object()
"""There is no lock in the default_args; None there says that there is to be none."""


def default_lock(task: Any) -> Any:
    """``lock`` in the default_args of a task's group, which hold those of the groups around it, or of its DAG."""
    for place in (task.task_group, task.get_dag()):
        given = getattr(place, "default_args", None)
        if given and "lock" in given:
            return given["lock"]
    return NO_DEFAULT
