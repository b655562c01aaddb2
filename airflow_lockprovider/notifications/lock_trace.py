"""Asks the lock database about a failed task: briefly, and without ever failing."""

from __future__ import annotations

import logging
import threading
from typing import Any

from airflow_lockprovider.hooks.lease import LeaseHook
from airflow_lockprovider.lease.model import Lease
from airflow_lockprovider.notifications.lock_facts import LockFacts, Trace, facts_of
from airflow_lockprovider.notifications.text import presentable
from airflow_lockprovider.operators.wanted import Wanted

log = logging.getLogger(__name__)

PATIENCE = 3.0
"""Seconds to wait for the lock database. Airflow ends a failed task's process 20 s after the failure
(``[core] task_success_overtime``), and the alert itself comes after this."""
_EVENTS = 500


def lock_facts(task: Any, ti: Any, error: object) -> LockFacts | None:
    """What the task had to do with its lock; None if it has none."""
    owner_id = str(getattr(ti, "id", ""))
    declared = _declared(task)
    names = getattr(task, "lock_name", None) or (declared.names if declared else None)
    known = [names] if isinstance(names, str) else list(names or ())
    told = getattr(error, "lock_name", None)
    # Of several locks: the one that the error is about.
    name = told if told and (told in known or len(known) < 2) else next(iter(known), None)
    if not isinstance(name, str):
        return None
    seen = getattr(task, "lock_holder", None)
    trace = _ask(name, owner_id, declared.lease_conn_id if declared else None)
    return facts_of(name, owner_id, seen if isinstance(seen, Lease) else None, trace)


def _declared(task: Any) -> Wanted | None:
    """The locks as the DAG file has them: in the dag-processor no template is rendered and no mapped task expanded."""
    own = getattr(task, "_lock", None)
    if isinstance(own, Wanted):
        return own
    given = getattr(task, "partial_kwargs", {}).get("lock")
    try:
        return Wanted.of(given, default_name=f"{task.dag_id}.{task.task_id}")
    except Exception:
        return None  # an XCom, or a mistake that the DAG's parsing has told


class _Hook(LeaseHook):
    def look_up(self) -> None:
        """Ask for the Airflow connection now, in this thread: a supervisor answers one thread at a time."""
        self._resolved()


def _ask(name: str, owner_id: str, conn_id: str | None) -> Trace:
    answers: list[Trace] = []

    def ask(hook: LeaseHook) -> None:
        known = None if "{{" in name or "{%" in name else name
        try:
            leases = hook.leases(known, owner_id=None if known else owner_id)
            events = [event for event in hook.history(known, _EVENTS) if event.owner_id == owner_id]
            answers.append(Trace(tuple(leases), tuple(events)))
        except Exception as error:
            answers.append(_unknown(error))
        finally:
            hook.close()

    try:
        hook = _Hook(conn_id)
        hook.look_up()
        # Daemon: a server that takes the connection and then says nothing must not hold the alert up.
        thread = threading.Thread(target=ask, args=(hook,), name="lock facts for an alert", daemon=True)
        thread.start()
        thread.join(PATIENCE)
    except Exception as error:
        return _unknown(error)
    return answers[0] if answers else Trace(problem=f"no answer within {PATIENCE:g} s")


def _unknown(error: Exception) -> Trace:
    log.warning("an alert goes out without what the lock database knows: %s", error)
    return Trace(problem=presentable(error, limit=500))
