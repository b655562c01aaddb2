"""Tells a person's kill from Airflow's mistake.

When a frozen triggerer wakes up, Airflow 3.3.2 calls ``on_kill()`` on triggers that another triggerer has taken over
(triggerer_job_runner.py, ``cancel_triggers``; upstream PR apache/airflow#73454). The task is then still deferred.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from airflow_lockprovider.hooks.lease import LeaseHook

log = logging.getLogger(__name__)


async def still_deferred(task_instance: Any) -> bool:
    """True if the task is still deferred, so nobody has killed it; also when that cannot be found out.

    Not knowing means not to stop work and not to give the lease back: it then ends by its ttl.
    """
    return await task_state(task_instance) == "deferred"


def may_have_gone_on(state: str | None) -> bool:
    """Whether a task in this state may have gone on by the event of another copy of its trigger.

    Or it was cleared, and its new try is on the way: Airflow tells a trigger only the state, not of which try.
    """
    return state in ("scheduled", "queued", "running", "up_for_reschedule", "awaiting_input")


def has_newer_try(hook: LeaseHook, owner_id: str, lock_names: Iterable[str]) -> bool:
    """Whether the database knows another try of the same task, waiting for one of these locks. Asks it.

    Airflow says "deferred" also when a cleared task has come back and waits for its own predecessor.
    """
    labels = {lease.owner for lease in hook.leases(owner_id=owner_id)}
    waiting = [waiter.owner for name in lock_names for waiter in hook.queue(name) if waiter.owner_id != owner_id]
    return any(is_earlier_try(label, other) for label in labels for other in waiting)


def is_earlier_try(label: str, other: str) -> bool:
    """Whether ``label`` is an earlier try of the same task as ``other``, both as ``dag/run/task[map]#try``."""
    (task, _, number), (other_task, _, other_number) = label.rpartition("#"), other.rpartition("#")
    numbers = number.isdecimal() and other_number.isdecimal()
    return numbers and task == other_task and int(number) < int(other_number)


async def task_state(task_instance: Any) -> str | None:
    """The task's state as Airflow knows it; "deferred" when that cannot be found out; None: none, or no such task."""
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import GetTaskStates

    ti = task_instance
    question = GetTaskStates(dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index)
    try:
        answer: Any = await task_runner.SUPERVISOR_COMMS.asend(question)
        states = answer.task_states.get(ti.run_id) or {}
    except Exception:
        log.warning("cannot find out whether %s is still deferred, taking it that it is", ti.task_id, exc_info=True)
        return "deferred"
    key = ti.task_id if ti.map_index is None or ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"
    state = states.get(key)
    return None if state is None else str(getattr(state, "value", state))
