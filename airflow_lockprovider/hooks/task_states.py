"""What Airflow says of the tasks behind leases and places in line."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from airflow_lockprovider.desk.watching import Party

log = logging.getLogger(__name__)

_AT_ONCE = 500
"""Ids in one question."""


def task_states(parties: Sequence[Party]) -> dict[str, str] | None:
    """Owner id → state of its task instance; who is unknown here is left out. None: Airflow did not answer.

    A task asks its supervisor. Any other process (a command, the api-server) asks Airflow's database, which knows
    earlier tries too.
    """
    from airflow.sdk.execution_time import task_runner

    try:
        supervised = getattr(task_runner, "SUPERVISOR_COMMS", None) is not None
        return _from_supervisor(parties) if supervised else _from_database(parties)
    except Exception as error:
        log.warning("the states of the tasks behind the locks are unknown: %s", error)
        return None


def _from_supervisor(parties: Sequence[Party]) -> dict[str, str]:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    dags: dict[str, list[Party]] = defaultdict(list)
    for party in parties:
        if {"dag_id", "run_id", "task_id"} <= party.context.keys():
            dags[str(party.context["dag_id"])].append(party)
    known = {}
    for dag_id, group in dags.items():
        runs: Mapping[str, Mapping[str, Any]] = RuntimeTaskInstance.get_task_states(
            dag_id=dag_id,
            task_ids=sorted({str(party.context["task_id"]) for party in group}),
            run_ids=sorted({str(party.context["run_id"]) for party in group}),
        )
        for party in group:
            state = runs.get(party.context["run_id"], {}).get(_name(party.context))
            if state is not None:
                known[party.owner_id] = _text(state)
    return known


def _from_database(parties: Sequence[Party]) -> dict[str, str]:
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.taskinstancehistory import TaskInstanceHistory
    from airflow.utils.session import create_session
    from sqlalchemy import select

    ids = sorted({one for party in parties if (one := _uuid(party.owner_id))})
    known: dict[str, str] = {}
    if not ids:
        return known
    with create_session() as session:
        for at in range(0, len(ids), _AT_ONCE):
            some = ids[at : at + _AT_ONCE]
            for key, state in (
                (TaskInstanceHistory.task_instance_id, TaskInstanceHistory.state),
                (TaskInstance.id, TaskInstance.state),
            ):
                rows = session.execute(select(key, state).where(key.in_(some))).all()
                known |= {str(instance): _text(value) for instance, value in rows if value is not None}
    return known


def _name(context: Mapping[str, Any]) -> str:
    """The task as Airflow calls it in its answer."""
    index = context.get("map_index", -1)
    return f"{context['task_id']}_{index}" if isinstance(index, int) and index >= 0 else str(context["task_id"])


def _text(state: Any) -> str:
    return str(getattr(state, "value", state))


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None  # the owner is no task: `lockprovider exec`, or SQL
