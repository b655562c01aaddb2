"""What the alerts have in common."""

from __future__ import annotations

import copy
from collections.abc import Generator, Mapping
from typing import Any

from airflow_lockprovider.compat import BaseNotifier
from airflow_lockprovider.notifications.failure import Failure, failure_of, task_instance, task_of
from airflow_lockprovider.notifications.lock_facts import LockFacts
from airflow_lockprovider.notifications.lock_trace import lock_facts
from airflow_lockprovider.notifications.message import Message


class Alert(BaseNotifier):
    """A notifier that can be used any number of times.

    Airflow renders the templates of a notifier in place, so that a second alert of the same object (in
    ``default_args``, in a dag-processor) would repeat the texts of the first; and it leaves its fields in the
    context, for the next callback to stumble on. Here every alert works on copies.
    """

    def __call__(self, *args: Any) -> None:
        if len(args) == 1 and isinstance(args[0], Mapping):
            args = (dict(args[0]),)
        super(Alert, copy.copy(self)).__call__(*args)

    def __await__(self) -> Generator[Any, Any, Any]:
        once = copy.copy(self)
        once.context = dict(self.context)  # type: ignore[assignment]
        return super(Alert, once).__await__()

    def get_template_env(self, dag: Any = None) -> Any:
        """For the callbacks of a DAG, ``dag.test()`` of Airflow 3.3.2 hands over a DAG that cannot render."""
        return super().get_template_env(dag if hasattr(dag, "get_template_env") else None)


def read_failure(context: Mapping[str, Any]) -> Failure:
    """All that can be found out about the failure. Asks the lock database, if the task has a lock."""
    return failure_of(context, lock=read_lock(context))


def read_lock(context: Mapping[str, Any]) -> LockFacts | None:
    """What the failed task had to do with its lock: asks the lock database. None if it has none."""
    return lock_facts(task_of(context), task_instance(context), context.get("exception"))


def message_in(context: Mapping[str, Any]) -> Message | None:
    """The message of `AlertNotifier`, if it calls: then it says what to send."""
    message = context.get("alert")
    return message if isinstance(message, Message) else None
