"""Tells a person's kill from Airflow's mistake.

When a frozen triggerer wakes up, Airflow 3.3.2 calls ``on_kill()`` on triggers that another triggerer has taken over
(triggerer_job_runner.py, ``cancel_triggers``; upstream PR apache/airflow#73454). The task is then still deferred.
"""

from __future__ import annotations

import logging
from typing import Any

log = logging.getLogger(__name__)


async def still_deferred(task_instance: Any) -> bool:
    """True if the task is still deferred, so nobody has killed it; also when that cannot be found out.

    Not knowing means not to stop work and not to give the lease back: it then ends by its ttl.
    """
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import GetTaskStates

    ti = task_instance
    question = GetTaskStates(dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index)
    try:
        answer: Any = await task_runner.SUPERVISOR_COMMS.asend(question)
        states = answer.task_states.get(ti.run_id) or {}
    except Exception:
        log.warning("cannot find out whether %s is still deferred, taking it that it is", ti.task_id, exc_info=True)
        return True
    key = ti.task_id if ti.map_index is None or ti.map_index < 0 else f"{ti.task_id}_{ti.map_index}"
    return bool(states.get(key) == "deferred")
