"""The facts of a failure, read from an Airflow context. Pure: asks nobody and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote

from airflow_lockprovider.compat import conf
from airflow_lockprovider.notifications.lock_facts import LockFacts
from airflow_lockprovider.notifications.text import presentable

_WORDS = {"up_for_retry": "failed, will be retried"}


@dataclass(frozen=True, slots=True)
class Failure:
    """Who failed, and why. Whatever the context does not tell is None."""

    level: Literal["task", "dag"]
    """"dag": a DAG-level callback; the task is then the one that Airflow names as the last one."""
    dag_id: str | None
    run_id: str | None
    task_id: str | None
    map_index: int | None
    """None for tasks that are not mapped."""
    try_number: int | None
    tries: int | None
    """How many tries there are: retries + 1."""
    state: str | None
    operator: str | None
    logical_date: datetime | None
    start_date: datetime | None
    duration_seconds: float | None
    reason: str | None
    """Airflow's word for a DAG's failure, such as "task_failure"."""
    error_type: str | None
    error: str | None
    log_url: str | None
    lock: LockFacts | None = None

    @property
    def who(self) -> str:
        """The task or the DAG, on one line."""
        mapped = "" if self.map_index is None else f"[{self.map_index}]"
        who = f"DAG {self.dag_id}" if self.level == "dag" else f"{self.dag_id}.{self.task_id}{mapped}"
        return " ".join(who.split())

    @property
    def title(self) -> str:
        """One line: who, and that it failed."""
        if self.level == "dag":
            what = f"failed: {self.reason}" if self.reason else "failed"
        else:
            what = _WORDS.get(self.state or "", "failed")
        return " ".join(f"{self.who} {what}".split())

    @property
    def try_text(self) -> str | None:
        """``2 of 3``."""
        if self.try_number is None:
            return None
        return f"{self.try_number} of {max(self.tries, self.try_number)}" if self.tries else str(self.try_number)

    def as_detail(self) -> dict[str, Any]:
        """For an event: plain JSON values, the same keys every time."""
        return {
            "version": 1,
            "title": self.title,
            "level": self.level,
            "dag_id": self.dag_id,
            "run_id": self.run_id,
            "task_id": self.task_id,
            "map_index": self.map_index,
            "try_number": self.try_number,
            "tries": self.tries,
            "state": self.state,
            "operator": self.operator,
            "logical_date": _iso(self.logical_date),
            "start_date": _iso(self.start_date),
            "duration_seconds": self.duration_seconds,
            "reason": self.reason,
            "exception": {"type": self.error_type, "message": self.error} if self.error_type else None,
            "log_url": self.log_url,
            "lock": self.lock.as_detail() if self.lock else None,
        }


def failure_of(context: Mapping[str, Any], *, lock: LockFacts | None = None, now: datetime | None = None) -> Failure:
    """Read the context of a task or DAG callback, wherever it runs.

    A worker gives everything. The dag-processor, where the callbacks of DAGs and of tasks whose worker has died run,
    knows no exception and no dates. A deadline alert has little more than the run.
    """
    ti = task_instance(context)
    task = task_of(context)
    run = context.get("dag_run")
    of_dag = "reason" in context or "deadline" in context or ti is None
    error = context.get("exception")
    start = _date(None if of_dag else _get(ti, "start_date"))
    end = _date(_get(ti, "end_date")) or now or datetime.now(UTC)
    dag_id = _get(ti, "dag_id") or _get(context.get("dag"), "dag_id") or _get(run, "dag_id")
    run_id = _get(ti, "run_id") or context.get("run_id") or _get(run, "run_id") or _get(run, "dag_run_id")
    map_index = _get(ti, "map_index")
    max_tries = _get(ti, "max_tries")
    state = _get(run if of_dag else ti, "state")
    reason = context.get("reason") or ("deadline missed" if "deadline" in context else None)
    return Failure(
        level="dag" if of_dag else "task",
        dag_id=dag_id,
        run_id=run_id,
        task_id=_get(ti, "task_id"),
        map_index=map_index if isinstance(map_index, int) and map_index >= 0 else None,
        try_number=_get(ti, "try_number"),
        tries=max_tries + 1 if isinstance(max_tries, int) else None,
        state=None if state is None else str(getattr(state, "value", state)),
        operator=_get(task, "task_type"),
        logical_date=_date(context.get("logical_date")) or _date(_get(run, "logical_date")),
        start_date=start,
        duration_seconds=round((end - start).total_seconds(), 3) if start else None,
        reason=None if reason is None else presentable(reason, limit=500),
        error_type=_type_name(error),
        error=None if error is None else presentable(error),
        log_url=_log_url(ti, dag_id, run_id, of_dag=of_dag),
        lock=lock,
    )


def has_worked(context: Mapping[str, Any]) -> bool:
    """Whether this is the context of a success."""
    if "deadline" in context:
        return False
    if "reason" in context:  # a DAG's callback
        return bool(context["reason"] == "success")
    ti = task_instance(context)
    state = _get(context.get("dag_run") if ti is None else ti, "state")
    return str(getattr(state, "value", state)) == "success" and context.get("exception") is None


def task_instance(context: Mapping[str, Any]) -> Any:
    """The task instance of a context, or None."""
    return context.get("ti") or context.get("task_instance")


def task_of(context: Mapping[str, Any]) -> Any:
    """The task of a context: of a mapped task the expanded one, which only the task instance has."""
    return _get(task_instance(context), "task") or context.get("task")


def _get(thing: Any, name: str) -> Any:
    """Contexts come with models that lack some fields, and with plain mappings."""
    if isinstance(thing, Mapping):
        return thing.get(name)
    return getattr(thing, name, None)


def _date(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _iso(value: datetime | None) -> str | None:
    return None if value is None else value.astimezone(UTC).isoformat()


def _type_name(error: object) -> str | None:
    if error is None:
        return None
    if isinstance(error, str):
        return "reported by Airflow"
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _log_url(ti: Any, dag_id: str | None, run_id: str | None, *, of_dag: bool) -> str | None:
    if not of_dag and isinstance(link := _get(ti, "log_url"), str):
        return link
    if dag_id is None or run_id is None:
        return None
    base = str(conf.get("api", "base_url", fallback="http://localhost:8080/")).rstrip("/")
    return f"{base}/dags/{quote(dag_id)}/runs/{quote(str(run_id))}"
