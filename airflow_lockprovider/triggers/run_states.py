"""What a trigger asks Airflow about its own run."""

from __future__ import annotations

import logging
from typing import Any

log = logging.getLogger(__name__)

FINISHED_TASK = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
FINISHED_RUN = frozenset({"success", "failed"})
AT_WORK = frozenset({"running", "restarting", "deferred"})
"""States in which something of a task may be going on."""


async def run_is_finished(ti: Any) -> bool | None:
    """Whether the run of ``ti`` is finished. None: it cannot be found out."""
    from airflow.sdk.execution_time.comms import GetDagRunState

    answer = await _ask(GetDagRunState(dag_id=ti.dag_id, run_id=ti.run_id))
    return None if answer is None else _text(answer.state) in FINISHED_RUN


async def task_states(
    ti: Any, *, task_ids: list[str] | None = None, map_index: int = -1
) -> dict[str, str | None] | None:
    """The states in the run of ``ti``: of these tasks, or of all. None: unknown, or there is no such run.

    A mapped task instance is called ``task_id_7``, as Airflow answers.
    """
    from airflow.sdk.execution_time.comms import GetTaskStates

    answer = await _ask(
        GetTaskStates(
            dag_id=ti.dag_id,
            task_ids=task_ids,
            run_ids=[ti.run_id],
            map_index=map_index if map_index >= 0 else None,
        )
    )
    found = None if answer is None else answer.task_states.get(ti.run_id)
    return {name: _text(state) for name, state in found.items()} if found else None


def _text(state: Any) -> str | None:
    return None if state is None else str(getattr(state, "value", state))


async def _ask(question: Any) -> Any:
    from airflow.sdk.execution_time import task_runner

    try:
        return await task_runner.SUPERVISOR_COMMS.asend(question)
    except Exception:
        log.warning("Airflow did not answer %s", type(question).__name__, exc_info=True)
        return None
