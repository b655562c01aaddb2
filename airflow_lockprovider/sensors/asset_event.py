"""What a sensor tells with the events of its outlets, so that a DAG can be scheduled on data that is ready."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from airflow.sdk import Asset
from airflow.sdk.definitions.asset import AssetRef

from airflow_lockprovider.readiness.verdict import Verdict


def event_extra(verdict: Verdict, *, kind: str, about: Mapping[str, Any], waited: float) -> dict[str, Any]:
    """The verdict for the consumer: counts, times in seconds, and ``about``: whose readiness it is."""
    return {
        "kind": kind,
        "about": {name: _json(value) for name, value in about.items() if value is not None},
        "expected": verdict.expected,
        "arrived": verdict.arrived,
        "lag_seconds": verdict.lag,
        "waited_seconds": round(waited, 1),
        "requests": verdict.requests,
        "errors": verdict.errors,
        "reason": verdict.reason,
        **verdict.facts,
    }


def tell_outlets(outlets: Iterable[Any], events: Any, extra: Mapping[str, Any]) -> None:
    """Put ``extra`` on the event of each asset among the outlets. Airflow creates the events when the task succeeds."""
    for outlet in outlets:
        if events is not None and isinstance(outlet, Asset | AssetRef):
            events[outlet].extra.update(extra)


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _json(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_json(part) for part in value]
    return value if isinstance(value, str | int | float | bool) else str(value)
