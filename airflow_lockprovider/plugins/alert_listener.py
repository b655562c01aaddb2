"""Alerts for every failed task of this Airflow, whatever its DAG says.

On a worker the task's own process tells, at once. What ends a task from outside (a lost worker, a task that a person
marks) is told by the scheduler or the api-server, from a thread of their own. A task whose process alone was killed
fires no hook at all in Airflow 3.3: it is found when its run ends.
"""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

from airflow.listeners import hookimpl

from airflow_lockprovider import config
from airflow_lockprovider.notifications.alert_notifier import AlertNotifier
from airflow_lockprovider.plugins.outbox import Outbox

log = logging.getLogger(__name__)

_FACTS = (
    "id",
    "dag_id",
    "run_id",
    "task_id",
    "map_index",
    "try_number",
    "max_tries",
    "state",
    "start_date",
    "end_date",
    "log_url",
    "task",
)
_MOST = 500
"""Failed tasks of one run that are looked at when it ends."""


class AlertListener:
    """Airflow's hooks. None of them raises or holds a scheduler up."""

    def __init__(self) -> None:
        self._outbox = Outbox("alerts of failed tasks")

    @hookimpl
    def on_task_instance_failed(self, previous_state: Any, task_instance: Any, error: Any) -> None:
        if _state(task_instance) == "up_for_retry" and not config.alert_retries():
            return
        if _is_worker(task_instance):
            _tell(_full_context(task_instance, error))
        else:
            context = {"ti": _facts(task_instance), "exception": error}
            self._outbox.put(lambda: _tell(context))

    @hookimpl
    def on_task_instance_success(self, previous_state: Any, task_instance: Any) -> None:
        context = {"ti": _facts(task_instance)}
        if _is_worker(task_instance):
            _tell(context)
        else:
            self._outbox.put(lambda: _tell(context))

    @hookimpl
    def on_dag_run_failed(self, dag_run: Any, msg: str) -> None:
        self._look_at(dag_run)

    @hookimpl
    def on_dag_run_success(self, dag_run: Any, msg: str) -> None:
        self._look_at(dag_run)  # it may have succeeded in spite of failed tasks

    @hookimpl
    def before_stopping(self, component: Any) -> None:
        self._outbox.drain(5.0)

    def _look_at(self, dag_run: Any) -> None:
        dag_id, run_id = str(dag_run.dag_id), str(dag_run.run_id)
        self._outbox.put(lambda: _tell_forgotten(dag_id, run_id))


def _tell_forgotten(dag_id: str, run_id: str) -> None:
    """Tell of the failed tasks of this run. The ledger knows of which people have been told."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(TaskInstance).where(
        TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id, TaskInstance.state == "failed"
    )
    with create_session() as session:
        failed = [_facts(row) for row in session.scalars(query.limit(_MOST))]
    for ti in failed:
        _tell({"ti": ti, "exception": "the task's process ended without a word (killed, or out of memory?)"})


def _tell(context: dict[str, Any]) -> None:
    try:
        notifier = AlertNotifier.configured()
        if notifier is None:
            log.error("[lockprovider] alert_every_failure is on, but [lockprovider] alerts names no file with channels")
            return
        notifier.tell(context)
    except Exception:
        # Nothing here may change what becomes of a task.
        log.exception("no alert for %s", getattr(context["ti"], "task_id", "?"))


def _full_context(ti: Any, error: Any) -> dict[str, Any]:
    """With everything that templates of channels may ask for."""
    try:
        context = dict(ti.get_template_context())
    except Exception:
        log.debug("the context of a failed task cannot be had", exc_info=True)
        context = {"ti": _facts(ti)}
    return {**context, "exception": error}


def _facts(ti: Any) -> SimpleNamespace:
    """A copy: a row of Airflow's database must not be read in another thread, nor after its session."""
    known = {}
    for name in _FACTS:
        try:
            known[name] = getattr(ti, name, None)
        except Exception:  # a relation that is not loaded
            known[name] = None
    return SimpleNamespace(**known)


def _state(ti: Any) -> str:
    state = getattr(ti, "state", None)
    return str(getattr(state, "value", state))


def _is_worker(ti: Any) -> bool:
    """Whether this is the process of the task itself, which ends soon, and whom nobody waits for."""
    return type(ti).__module__.startswith("airflow.sdk.")


LISTENER = AlertListener()
