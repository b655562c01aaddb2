"""What the API answers. Durations are seconds, times ISO 8601 with zone."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict


class LockRow(BaseModel):
    """A lease, or (``token`` null) a lock without one."""

    lock_name: str
    capacity: int
    paused: bool
    note: str | None
    waiters: int
    token: int | None
    owner: str | None
    owner_id: str | None
    state: str | None
    """held | reserved (for a waiter that has not started) | released, revoked, expired (draining: still counts)."""
    units: int | None
    shared: bool | None
    context: dict[str, Any]
    """dag_id, run_id, task_id, map_index, try_number, host, pid, log_url, expected_hold: as far as known."""
    created_at: datetime | None
    expires_at: datetime | None
    held_seconds: float | None
    expires_in_seconds: float | None
    ttl_seconds: float | None
    late: bool | None
    """Two renewals were missed: it will expire unless its owner comes back."""
    expired: bool | None
    """Its owner is gone; it goes to whoever asks next."""
    too_long: bool | None
    """Held longer than its expected_hold, or than [lockprovider] watch_held."""
    draining: bool | None
    """It is over, but its guarded transaction is open."""


class BlockerRow(BaseModel):
    """One thing that keeps a request waiting."""

    model_config = ConfigDict(from_attributes=True)

    kind: str
    what: str
    token: int | None
    ticket: int | None


class WaiterRow(BaseModel):
    """A request in line."""

    lock_name: str
    position: int
    ticket: int
    owner: str
    owner_id: str
    units: int
    shared: bool
    priority: int
    waited: float
    created_at: datetime
    alive: bool
    mine: bool
    """It is of the task that was asked for."""
    context: dict[str, Any]
    blocked_by: list[BlockerRow]


class Counts(BaseModel):
    """Over the filter, without the mark."""

    rows: int = 0
    leases: int = 0
    late: int = 0
    too_long: int = 0
    draining: int = 0
    paused: int = 0
    waiters: int = 0
    matching: int = 0
    """Rows with the mark, of which ``locks`` is one page."""


class Now(BaseModel):
    """What is going on."""

    conn_id: str
    conn_ids: list[str]
    user: str
    may_act: bool
    counts: Counts
    locks: list[LockRow]
    waiters: list[WaiterRow]


class EventRow(BaseModel):
    """One line of history."""

    event_id: int
    at: datetime
    lock_name: str
    event: str
    token: int | None
    owner: str
    owner_id: str
    waited: float | None
    held: float | None
    actor: str | None
    reason: str | None
    context: dict[str, Any]


class History(BaseModel):
    """Newest first; ``before`` fetches the next page, null: that was all."""

    events: list[EventRow]
    before: int | None


class SpanRow(BaseModel):
    """Who held the lock when."""

    token: int
    owner: str
    start: datetime | None
    end: datetime | None
    ended: str | None
    reserved_at: datetime | None
    units: int | None
    waited: float | None
    by: str | None
    reason: str | None
    context: dict[str, Any]


class LockStats(BaseModel):
    """How a lock was used."""

    lock_name: str
    grants: int
    held_avg: float | None
    held_p95: float | None
    """null on Redshift."""
    held_total: float | None
    waited_avg: float | None
    waited_max: float | None
    expired: int
    lapsed: int
    revoked: int
    last_at: datetime


class OwnerStats(BaseModel):
    """How one task (or other owner) used a lock."""

    lock_name: str
    dag_id: str | None
    task_id: str
    grants: int
    held_avg: float | None
    held_max: float | None
    held_total: float | None
    waited_avg: float | None
    waited_max: float | None
    lost: int
    last_at: datetime


class Statistics(BaseModel):
    """The busiest first."""

    hours: float
    locks: list[LockStats]
    owners: list[OwnerStats]


class OneLock(BaseModel):
    """Everything about one lock."""

    conn_id: str
    may_act: bool
    name: str
    capacity: int | None
    paused: bool
    note: str | None
    leases: list[LockRow]
    waiters: list[WaiterRow]
    hours: float
    stats: LockStats | None
    owners: list[OwnerStats]
    known_since: datetime | None
    """The spans are complete from here on."""
    spans: list[SpanRow]
    events: list[EventRow]


class Done(BaseModel):
    """What an act did, in words, and to which tokens."""

    done: str
    tokens: list[int] = []
