"""Rows for people are short; rows for programs are whole and typed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from airflow_lockprovider.desk.cells import for_people, for_programs
from airflow_lockprovider.desk.rows import (
    EVENT_COLUMNS,
    LEASE_COLUMNS,
    WAITER_COLUMNS,
    event_row,
    lease_row,
    waiter_row,
)
from airflow_lockprovider.lease.model import Lease, LeaseEvent, Waiter

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0s"),
        (59.94, "59.9s"),
        (59.96, "1m 0s"),
        (3599.6, "1h 0m"),
        (3661, "1h 1m"),
        (90_000, "1d 1h"),
        (None, "-"),
    ],
)
def test_durations_are_short_for_people(seconds, text):
    assert for_people({"held": seconds}, ["held"]) == {"held": text}


def test_times_are_shown_in_utc_and_truth_as_yes_or_no():
    berlin = timezone(timedelta(hours=1))
    row = {"at": NOON.astimezone(berlin), "alive": False, "by": None}
    assert for_people(row, row) == {"at": "2026-03-01 12:00:00Z", "alive": "no", "by": "-"}
    assert for_programs(row) == {"at": "2026-03-01T12:00:00+00:00", "alive": False, "by": None}


def test_lease_says_how_long_it_has_been_held_by_the_databases_clock():
    lease = Lease(
        lock_name="dwh.sales",
        owner_id="1",
        owner="nightly/run/load#1",
        token=7,
        units=1,
        shared=False,
        state="held",
        ttl=120,
        remaining=90,
        created_at=NOON,
        expires_at=NOON + timedelta(seconds=400),
    )
    row = lease_row(lease, waiters=2)
    assert (row["held_for"], row["expires_in"], row["waiters"]) == (310, 90, 2)
    assert for_programs(row)["held_for_seconds"] == 310


def test_every_column_that_is_shown_exists():
    lease = Lease("a", "1", "o", 1, 1, False, "held", 1, 1, NOON, NOON)
    waiter = Waiter(1, "a", "1", "o", 1, False, 0, NOON, 1.0, 1, True)
    event = LeaseEvent(NOON, "a", 1, "1", "o", "granted", 0.0, None, None, None)
    assert set(LEASE_COLUMNS) <= lease_row(lease, waiters=0).keys()
    assert set(WAITER_COLUMNS) <= waiter_row(waiter).keys()
    assert set(EVENT_COLUMNS) <= event_row(event).keys()
