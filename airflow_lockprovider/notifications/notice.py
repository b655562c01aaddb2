"""Something that people should know, whoever found it out. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_lockprovider.notifications.failure import Failure

_KEY_LIMIT = 400


@dataclass(frozen=True, slots=True)
class Notice:
    """One trouble, as it is told. Notices with the same ``key`` are the same trouble, and are throttled together."""

    key: str
    """Such as ``watch/held too long/dwh.sales``."""
    title: str
    """One line: who, and what is the matter."""
    text: str = ""
    """What else people should know. Several lines."""
    kind: str = "alert"
    """One or two words for programs: "failed", "held too long" …"""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """More facts for programs: plain JSON values."""
    link: str | None = None
    """Where to look."""
    part: str = ""
    """What of it must work again before all of it does: a map index."""
    occurrence: str | None = None
    """Names this single occurrence: reported twice it counts once. None: every report counts."""
    failure: Failure | None = None
    """For the channels that say more about a failed task."""


def task_key(dag_id: str | None, task_id: str | None, *, retry: bool = False) -> str:
    """Key of a failing task. Failures that will be retried are a trouble of their own: the last one must not be lost
    among them."""
    return bounded(f"{'retry' if retry else 'task'}/{dag_id}/{task_id}")


def dag_key(dag_id: str | None, *, deadline: bool = False) -> str:
    """Key of a failing DAG, or of one that misses its deadline."""
    return bounded(f"{'deadline' if deadline else 'dag'}/{dag_id}")


def notice_of(failure: Failure) -> Notice:
    """A failure as a notice."""
    retry = failure.state == "up_for_retry"
    deadline = failure.reason == "deadline missed"
    one = (failure.dag_id, failure.run_id, failure.task_id, failure.map_index, failure.try_number)
    if failure.level == "dag":
        one = (failure.dag_id, failure.run_id, None, None, None)
    return Notice(
        key=dag_key(failure.dag_id, deadline=deadline)
        if failure.level == "dag"
        else task_key(failure.dag_id, failure.task_id, retry=retry),
        title=failure.title,
        kind="retry" if retry else "deadline" if deadline else "failed",
        detail=failure.as_detail(),
        link=failure.log_url,
        part="" if failure.map_index is None or failure.level == "dag" else str(failure.map_index),
        occurrence=hashlib.sha256(repr(one).encode()).hexdigest()[:32],
        failure=failure,
    )


def keys_of(failure: Failure) -> list[str]:
    """Keys of all that is over when this task, or this DAG, works."""
    if failure.level == "dag":
        return [dag_key(failure.dag_id), dag_key(failure.dag_id, deadline=True)]
    return [task_key(failure.dag_id, failure.task_id), task_key(failure.dag_id, failure.task_id, retry=True)]


def bounded(key: str) -> str:
    """The key, not longer than the ledger takes."""
    if len(key) <= _KEY_LIMIT:
        return key
    return f"{key[: _KEY_LIMIT - 20]}…{hashlib.sha256(key.encode()).hexdigest()[:16]}"
