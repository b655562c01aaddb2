"""Who is told when a task fails: an EventBridge bus for programs, a mail for people."""

from __future__ import annotations

from typing import Any

from airflow_lockprovider.notifications import EventBridgeNotifier, FailureEmail


def alerts() -> list[Any]:
    """For ``on_failure_callback``. Both say which lock the task held, and under which token."""
    return [
        EventBridgeNotifier(event_bus="lockprovider-alerts", aws_conn_id="aws_region1"),
        FailureEmail(to="data-team@example.com", from_email="airflow@example.com", smtp_conn_id="smtp_default"),
    ]
