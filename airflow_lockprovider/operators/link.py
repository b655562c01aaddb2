"""The "Lock" link of a task: to the log of whoever holds its lock."""

from __future__ import annotations

from typing import Any

from airflow_lockprovider.compat import BaseOperatorLink


class LockLink(BaseOperatorLink):
    """Leads to the log of the task that holds the lock, as this task last saw it: itself, or the one it waits for.

    Airflow asks for it in the task's process, when a leg of the task ends, and keeps the answer.
    """

    name = "Lock"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        holder = getattr(operator, "lock_holder", None)
        return str((holder.context if holder else {}).get("log_url") or "")
