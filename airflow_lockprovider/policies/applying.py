"""Puts the locks of rules and of ``default_args`` on a task, when its DAG is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.operators.default_lock import NO_DEFAULT, default_lock
from airflow_lockprovider.operators.locked import relock
from airflow_lockprovider.operators.mixin import LockedMixin
from airflow_lockprovider.operators.refusal import is_never_run
from airflow_lockprovider.operators.wanted import LockLike, Wanted
from airflow_lockprovider.policies.rule import Rule, Traits, operator_class


def apply_rules(task: Any, rules: Iterable[Rule]) -> None:
    """Put on the locks of all rules that fit, beside the task's own. Raises ConfigurationError where that cannot be.

    A task without a lock of its own also gets the one in its DAG's or group's ``default_args``.
    """
    cls = operator_class(task)
    if getattr(cls, "lockprovider_own", False):
        return  # a part of a lock_scope
    fitting = matching(task, rules)  # before its class changes
    if not issubclass(cls, LockedMixin) and not is_never_run(cls):
        default = default_lock(task)
        _put_on(task, default, f"default_args={{'lock': {default!r}}}", "LockedOperator(operator=…, lock=None)")
    for rule in fitting:
        for lock in rule.locks:
            _put_on(task, lock, f"the rule in {rule.place}", f"except: {{dag: {task.dag_id}, task: {task.task_id}}}")


def matching(task: Any, rules: Iterable[Rule]) -> list[Rule]:
    """The rules that a task fits, in their order."""
    traits = Traits.of(task)
    return [rule for rule in rules if rule.fits(traits)]


def _put_on(task: Any, declared: LockLike | None, by: str, way_out: str) -> None:
    """Add those of the declared locks that the task does not have by name."""
    try:
        own, more = own_lock(task), _wanted(task, declared)
        there = own.locks if own else ()
        missing = [lock for lock in (more.locks if more else ()) if lock.name not in [one.name for one in there]]
        if missing and own and own.scope:
            raise ConfigurationError(
                f"it is a member of a lock_scope over {own.label} and would wait for one lock while it holds another. "
                "Name all of them in the scope, as a list"
            )
        if missing:
            together = [*there, *missing]
            relock(task, together[0] if len(together) == 1 else together)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"task {task.task_id!r} of DAG {task.dag_id!r} is to be locked by {by}, but that cannot be: {error}. "
            f"To leave it without: {way_out}"
        ) from error


def own_lock(task: Any) -> Wanted | None:
    """What a task, mapped or not, is declared to hold as it stands."""
    if isinstance(task, LockedMixin):
        return task._lock
    if not issubclass(operator_class(task), LockedMixin):
        return None
    if _maps_its_lock(task):
        raise ConfigurationError("its own lock is mapped with expand(lock=…): state all its locks there")
    return _wanted(task, task.partial_kwargs.get("lock", default_lock(task)))  # as at its unmapping


def _maps_its_lock(task: Any) -> bool:
    value = task.expand_input.value  # of a TaskFlow task it is empty, as that maps arguments of its function
    entries = value if isinstance(value, list | tuple) else [value]
    return any(isinstance(entry, Mapping) and "lock" in entry for entry in entries)


def _wanted(task: Any, declared: Any) -> Wanted | None:
    if declared is NO_DEFAULT:
        return None
    return Wanted.of(declared, default_name=f"{task.dag_id}.{task.task_id}")
