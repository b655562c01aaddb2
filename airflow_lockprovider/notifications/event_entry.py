"""An alert as one entry of EventBridge's PutEvents. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airflow_lockprovider.notifications.text import shortened

SIZE_LIMIT = 256 * 1024
"""Bytes of one entry, as EventBridge counts them."""


def event_entry(
    detail: Mapping[str, Any], *, event_bus: str, source: str, detail_type: str, extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The entry, ``extra`` under the key of that name.

    When it is too large texts are shortened, ``extra`` goes next: an alert with holes is better than none.
    """
    frame = {"EventBusName": event_bus, "Source": source, "DetailType": detail_type}
    room = SIZE_LIMIT - sum(len(text.encode()) for text in (source, detail_type)) - 64
    whole = {**detail, "extra": dict(extra)} if extra else dict(detail)
    text = _json(whole)
    limit = 32_000
    while len(text.encode()) > room and limit > 50:
        whole = {**_shortened(whole, limit), "truncated": True}
        text = _json(whole)
        limit //= 2
    if len(text.encode()) > room:
        text = _json({**{name: value for name, value in whole.items() if name != "extra"}, "truncated": True})
    return {**frame, "Detail": text}


def _json(detail: Mapping[str, Any]) -> str:
    return json.dumps(detail, default=str, ensure_ascii=False).encode(errors="replace").decode()


def _shortened(value: Any, limit: int) -> Any:
    if isinstance(value, str):
        return shortened(value, limit)
    if isinstance(value, Mapping):
        return {str(name): _shortened(entry, limit) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_shortened(entry, limit) for entry in value]
    return value
