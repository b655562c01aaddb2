"""Alerts: to Amazon EventBridge, by e-mail, and over any channels at once as often as people want to hear it.

Loaded when first used: only `FailureEmail` needs the smtp provider.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_lockprovider.notifications.alert_notifier import AlertNotifier
    from airflow_lockprovider.notifications.eventbridge import EventBridgeNotifier
    from airflow_lockprovider.notifications.failure_email import FailureEmail
    from airflow_lockprovider.notifications.notice import Notice

__all__ = ["AlertNotifier", "EventBridgeNotifier", "FailureEmail", "Notice"]

_HOMES = {
    "AlertNotifier": "airflow_lockprovider.notifications.alert_notifier",
    "EventBridgeNotifier": "airflow_lockprovider.notifications.eventbridge",
    "FailureEmail": "airflow_lockprovider.notifications.failure_email",
    "Notice": "airflow_lockprovider.notifications.notice",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
