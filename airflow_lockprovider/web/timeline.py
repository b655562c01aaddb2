"""Who held a lock when, told from its history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

Row = Mapping[str, Any]

_BEGINNINGS = ("granted", "confirmed")
_ENDINGS = ("released", "revoked", "expired", "lapsed", "adopted", "lost")


@dataclass(slots=True)
class Span:
    """One lease, from its grant to its end."""

    token: int
    owner: str
    start: datetime | None = None
    """None: before the history that was looked at."""
    end: datetime | None = None
    """None: it goes on."""
    ended: str | None = None
    """The event that ended it: released, revoked, expired, lapsed, adopted."""
    reserved_at: datetime | None = None
    """When it was reserved for a waiter that had not started yet."""
    units: int | None = None
    waited: float | None = None
    by: str | None = None
    reason: str | None = None
    context: Mapping[str, Any] = field(default_factory=dict)


def spans(events: Iterable[Row], leases: Iterable[Row]) -> list[Span]:
    """The leases of one lock, oldest first. ``events`` in any order; ``leases``: what counts now."""
    found: dict[int, Span] = {}
    for event in sorted(events, key=lambda one: int(one["event_id"])):
        if event["token"] is None:
            continue
        span = found.setdefault(event["token"], Span(event["token"], event["owner"]))
        span.owner = event["owner"] or span.owner
        span.context = event["context"] or span.context
        span.units = event["units"] or span.units
        if event["event"] in _BEGINNINGS:
            span.start, span.waited = event["at"], event["waited"]
        elif event["event"] == "reserved":
            span.reserved_at = event["at"]
        elif event["event"] in _ENDINGS and span.ended is None:
            _end(span, event)
    for lease in leases:
        if lease["token"] is None:
            continue
        span = found.setdefault(lease["token"], Span(lease["token"], lease["owner"], context=lease["context"]))
        if span.start is None and lease["state"] != "reserved":
            span.start = lease["created_at"]
        elif span.start is None:
            span.reserved_at = span.reserved_at or lease["created_at"]
    return sorted(found.values(), key=lambda one: one.token)


def _end(span: Span, event: Row) -> None:
    span.end, span.ended = event["at"], event["event"]
    span.by, span.reason = event["actor"], event["reason"]
    began = span.start or span.reserved_at
    if event["held"] is None:
        return
    length = timedelta(seconds=float(event["held"]))
    if event["event"] in ("expired", "lapsed") and began is not None:
        # It was noticed later, by the next one who looked.
        span.end = min(span.end, (span.reserved_at or began) + length)
    elif began is None:
        span.start = span.end - length
