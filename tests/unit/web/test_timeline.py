"""Who held a lock when, from whatever is left of its history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_lockprovider.web.timeline import spans

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def _at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def _event(number: int, event: str, minutes: float, token: int | None = 1, **more: Any) -> dict[str, Any]:
    given = {"waited": None, "held": None, "actor": None, "reason": None, "units": 1, "context": {}, "owner": "one"}
    return {"event_id": number, "event": event, "at": _at(minutes), "token": token, **given, **more}


def test_a_lease_reaches_from_its_grant_to_its_release_in_whatever_order_the_events_come() -> None:
    events = [_event(2, "released", 10, held=600.0), _event(1, "granted", 0, waited=5.0)]
    (span,) = spans(events, [])
    assert (span.start, span.end, span.ended, span.waited) == (_at(0), _at(10), "released", 5.0)


def test_what_goes_on_has_no_end() -> None:
    (span,) = spans([_event(1, "granted", 0)], [])
    assert (span.end, span.ended) == (None, None)


def test_a_reservation_is_told_apart_from_the_work() -> None:
    events = [_event(1, "reserved", 0), _event(2, "confirmed", 2), _event(3, "released", 10, held=600.0)]
    (span,) = spans(events, [])
    assert (span.reserved_at, span.start, span.end) == (_at(0), _at(2), _at(10))


def test_an_expired_lease_ends_when_it_expired_not_when_that_was_noticed() -> None:
    (span,) = spans([_event(1, "granted", 0), _event(2, "expired", 300, held=600.0)], [])
    assert span.end == _at(10)


def test_a_grant_that_is_older_than_the_history_is_reckoned_from_its_end() -> None:
    (span,) = spans([_event(9, "released", 60, held=1800.0)], [])
    assert (span.start, span.end) == (_at(30), _at(60))


def test_a_lease_that_counts_now_is_there_even_without_history() -> None:
    lease = {"token": 7, "owner": "two", "state": "held", "created_at": _at(0), "context": {"dag_id": "nightly"}}
    (span,) = spans([], [lease])
    assert (span.token, span.start, span.end, span.context) == (7, _at(0), None, {"dag_id": "nightly"})


def test_who_revoked_it_and_why_stays_with_it_also_if_it_was_released_later() -> None:
    events = [
        _event(1, "granted", 0),
        _event(2, "revoked", 5, actor="ann", reason="stuck", held=300.0),
        _event(3, "released", 6, held=360.0),
    ]
    (span,) = spans(events, [])
    assert (span.ended, span.by, span.reason, span.end) == ("revoked", "ann", "stuck", _at(5))


def test_pauses_are_no_leases() -> None:
    assert spans([_event(1, "paused", 0, token=None, actor="ann")], [{"token": None}]) == []
