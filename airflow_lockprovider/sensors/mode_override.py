"""Whether a run asks its sensors to look only once: to test one step alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_lockprovider.lease.errors import ConfigurationError

KEY = "mode_override"
WAIT, ONCE = "wait", "once"


def looks_once(context: Mapping[str, Any], task_id: str, own: str | None) -> bool:
    """By the run's conf, else the DAG's params (the trigger form fills both), else the sensor's own setting.

    Each is "once" or "wait", or a mapping of task ids to these. ConfigurationError for anything else.
    """
    conf = getattr(context.get("dag_run"), "conf", None) or {}
    for source, given in (("conf", conf), ("params", context.get("params") or {})):
        wanted = given.get(KEY)
        if isinstance(wanted, Mapping):
            wanted = wanted.get(task_id)
        if wanted:
            return check_mode(wanted, f"{source}[{KEY!r}]") == ONCE
    return own == ONCE


def check_mode(mode: Any, setting: str = KEY) -> str:
    """The mode itself. ConfigurationError if it is none."""
    if mode not in (WAIT, ONCE):
        raise ConfigurationError(f"{setting}={mode!r} must be {ONCE!r} or {WAIT!r}")
    return str(mode)
