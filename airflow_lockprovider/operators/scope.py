"""`lock_scope`: one lease over many tasks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from airflow_lockprovider.compat import BaseOperator, MappedOperator, TaskGroup
from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.operators.locked import relock
from airflow_lockprovider.operators.refusal import is_never_run
from airflow_lockprovider.operators.scope_ref import InScope, Scope
from airflow_lockprovider.operators.scope_tasks import (
    AcquireScopeLock,
    KeepScopeLock,
    ReleaseScopeLock,
    ScopeMemberEnded,
)
from airflow_lockprovider.operators.wanted import LockLike, Wanted

_LONGEST_DEFAULT_ID = 60


@contextmanager
def lock_scope(
    lock: LockLike, *, group_id: str | None = None, prefix_group_id: bool | None = None, **group: Any
) -> Iterator[TaskGroup]:
    """All tasks of the block work under one lease.

    ::

        with DAG("load_sales", ...):
            with lock_scope("dwh.sales") as sales:
                stage >> merge >> check
            extract >> sales >> report

    A first task waits for the lock and takes it, the triggerer keeps it (no worker slot), a last task gives it back
    when all tasks of the block are done, also when some have failed. Every task of the block makes sure of the lease
    before its body, and is stopped if it is lost; if it is cleared alone later, it takes the lock itself.

    The block is a TaskGroup, which it yields. Without ``group_id`` the tasks in it keep their own ids; inside another
    TaskGroup it needs one.

    Raises ConfigurationError, so an import error of the DAG, for what cannot work: an empty block, a scope or a locked
    task in a scope, a task that cannot be locked.

    :param lock: what `LockedOperator` takes: a name, a `Lock`, a mapping, or a list of these; names are templated
    :param group_id: id of the TaskGroup; its tasks then are called ``group_id.task_id``. Default: after the lock
    :param prefix_group_id: whether the tasks' ids begin with that of the group. Default: only with ``group_id``
    :param group: other arguments of TaskGroup
    """
    prefix = group_id is not None if prefix_group_id is None else prefix_group_id
    with TaskGroup(
        group_id or _default_id(lock), prefix_group_id=prefix, add_suffix_on_collision=group_id is None, **group
    ) as tasks:
        if group_id is None and not prefix:
            _refuse_lost_prefix(tasks)
        wanted = Wanted.of(lock, default_name=f"{tasks.dag.dag_id}.{tasks.group_id}")
        if wanted is None:  # lock_status: disable
            yield tasks
            return
        _refuse_nesting(tasks)
        ids = [_own_id(tasks, name) for name in ("acquire_lock", "keep_lock", "release_lock")]
        # What default_args say is meant for the work: waiting for a lock or keeping it must not run into a timeout.
        acquire = AcquireScopeLock(task_id=ids[0], lock=wanted.asked, execution_timeout=None)
        yield tasks
        members = [task for task in tasks if task is not acquire]
        _close(acquire, members, ids[1:], wanted)


def _close(acquire: AcquireScopeLock, members: list[Any], ids: list[str], wanted: Wanted) -> None:
    if not members:
        raise ConfigurationError(f"lock_scope({wanted.label}) has no tasks: create them inside its with block")
    steady: dict[str, Any] = {
        "execution_timeout": None,
        "retries": 3,
        "retry_delay": timedelta(seconds=10),
        "depends_on_past": False,
        "wait_for_downstream": False,
        "max_active_tis_per_dag": None,
        "max_active_tis_per_dagrun": None,
    }
    conn_id = wanted.lease_conn_id
    release = ReleaseScopeLock(task_id=ids[1], acquire_id=acquire.task_id, lease_conn_id=conn_id, **steady)
    keep = KeepScopeLock(
        task_id=ids[0],
        acquire_id=acquire.task_id,
        release_id=release.task_id,
        members=sorted(member.task_id for member in members),
        lease_conn_id=conn_id,
        **steady,
    )
    scope = Scope(acquire.task_id, release.task_id, mapped=acquire.get_closest_mapped_task_group() is not None)
    names = {member.task_id for member in members}
    for member in members:
        if not member.upstream_task_ids & names:
            _refuse_trigger_rule(member, acquire)
            acquire >> member
        # Of every one, not only of the last ones: Airflow gives those up as soon as one of several before them fails,
        # while the others still run.
        (_ended(member) if _may_skip(member) else member) >> release
        _make_member(member, InScope(scope, wanted.asked))
    # The keeper is a teardown, too: it is cleared together with the first task, and its state is not that of the run.
    keep.as_teardown(setups=acquire)
    release.as_teardown(setups=acquire)


def _may_skip(task: Any) -> bool:
    cls = task.operator_class if isinstance(task, MappedOperator) else task
    return bool(getattr(cls, "inherits_from_skipmixin", False)) or task.inherits_from_skipmixin


def _ended(branch: Any) -> ScopeMemberEnded:
    """Stands between a branch and the release: a branch skips what follows it directly and was not chosen."""
    ended = ScopeMemberEnded(task_id=f"{branch.label}_ended", task_group=branch.task_group)
    branch >> ended.as_teardown()
    return ended


def _make_member(task: Any, lock: InScope) -> None:
    if is_never_run(task.operator_class if isinstance(task, MappedOperator) else type(task)):
        return
    own = task.partial_kwargs.get("lock") if isinstance(task, MappedOperator) else getattr(task, "_lock", None)
    if own is not None:
        raise ConfigurationError(
            f"task {task.task_id!r} has a lock of its own inside lock_scope: it would wait for one lock while it holds "
            "another, and two such DAGs could wait for each other for ever. Name all locks in the scope, "
            "lock_scope([...]), and none at the task"
        )
    relock(task, lock)  # type: ignore[arg-type]  # an InScope is no value for users


def _refuse_lost_prefix(group: TaskGroup) -> None:
    outer = group.parent_group
    if outer is not None and not outer.is_root and outer.prefix_group_id:
        raise ConfigurationError(
            f"lock_scope inside TaskGroup {outer.group_id!r} needs a group_id: without one its tasks lose the prefix "
            f"{outer.group_id!r}, as Airflow names them"
        )


def _refuse_nesting(group: TaskGroup) -> None:
    outer = group.parent_group
    while outer is not None:
        if any(isinstance(child, AcquireScopeLock) for child in outer.children.values()):
            raise ConfigurationError(
                f"lock_scope in lock_scope ({outer.group_id!r}): it would wait for one lock while it holds another, "
                "and two such DAGs could wait for each other for ever. Name all locks in one scope: lock_scope([...])"
            )
        outer = outer.parent_group


def _refuse_trigger_rule(task: BaseOperator, acquire: AcquireScopeLock) -> None:
    rule = str(getattr(task.trigger_rule, "value", task.trigger_rule))
    if rule != "all_success" and not task.is_teardown:
        raise ConfigurationError(
            f"task {task.task_id!r} begins a lock_scope with trigger_rule={rule!r}: the task that "
            f"takes the lock, {acquire.task_id!r}, stands before it, so the rule would no longer mean the same. Put a "
            "task with that rule before the scope, and leave this one at 'all_success'"
        )


def _own_id(group: TaskGroup, name: str) -> str:
    return name if group.prefix_group_id else f"{group.group_id}.{name}"


def _default_id(lock: LockLike) -> str:
    first = lock[0] if isinstance(lock, list | tuple) and lock else lock
    name = first.get("name", "") if isinstance(first, dict) else getattr(first, "name", first)
    words = re.sub(r"\W+", "_", str(name)).strip("_")[:_LONGEST_DEFAULT_ID]
    return f"lock_{words}" if words else "lock"
