"""Alerts for ``on_failure_callback``: to Amazon EventBridge, and by e-mail.

Loaded when first used: only `FailureEmail` needs the smtp provider.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_lockprovider.notifications.eventbridge import EventBridgeNotifier
    from airflow_lockprovider.notifications.failure_email import FailureEmail

__all__ = ["EventBridgeNotifier", "FailureEmail"]

_HOMES = {
    "EventBridgeNotifier": "airflow_lockprovider.notifications.eventbridge",
    "FailureEmail": "airflow_lockprovider.notifications.failure_email",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
