"""A second witness beside `lease_event`: a trigger that notes every change of a row of the lease table.

The engine knows nothing of it. What is judged by it needs no tolerance: the moments are those that stand in the leases'
own rows, and the order is the order in which the rows changed. (Whoever inserts a lease has seen the removal of the one
before it committed, so it has drawn a later number.)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.faults.history import Event

INSTALL = """
create table public.witness (
    number bigint generated always as identity, at timestamptz default clock_timestamp(),
    xact xid8 default pg_current_xact_id(), change text, lock_name text, token bigint, owner text, state text,
    units integer, shared boolean, waited float8, created_at timestamptz, expires_at timestamptz);
create function public.witness() returns trigger language plpgsql as $$
declare
    l lockprovider.lease := case when tg_op = 'DELETE' then old else new end;
begin
    insert into public.witness (change, lock_name, token, owner, state, units, shared, waited, created_at, expires_at)
    select lower(tg_op), l.lock_name, l.token, l.owner, l.state, l.units, l.shared, l.waited, l.created_at,
           l.expires_at;
    return null;
end $$;
create trigger witness after insert or update or delete on lockprovider.lease
for each row execute function public.witness();

create table public.line (
    number bigint generated always as identity, at timestamptz default clock_timestamp(),
    change text, ticket bigint, lock_name text, owner text, session text);
create function public.line() returns trigger language plpgsql as $$
declare
    w lockprovider.waiter := case when tg_op = 'DELETE' then old else new end;
begin
    insert into public.line (change, ticket, lock_name, owner, session)
    select lower(tg_op), w.ticket, w.lock_name, w.owner, w.worker_session;
    return null;
end $$;
create trigger line after insert or delete or update of worker_session on lockprovider.waiter
for each row execute function public.line();
"""
_CHANGES = """
select change, lock_name, token, owner, state, units, shared, waited, xact::text::bigint,
       extract(epoch from at)::float8, extract(epoch from created_at)::float8, extract(epoch from expires_at)::float8
from public.witness order by number
"""
_LINE = """
select distinct on (ticket) ticket, owner, session, extract(epoch from at)::float8, change
from public.line where lock_name = %s and at <= to_timestamp(%s) order by ticket, number desc
"""


@dataclass(frozen=True, slots=True)
class Change:
    """A row of the lease table as it was inserted, updated, or when it was removed. Times in seconds."""

    change: str
    """insert | update | delete"""
    lock_name: str
    token: int
    owner: str
    state: str
    units: int = 1
    shared: bool = False
    waited: float = 0.0
    xact: int = 0
    at: float = 0.0
    created_at: float = 0.0
    expires_at: float = 0.0


def read(sql: Any) -> list[Change]:
    """What the witness has noted, over an open connection."""
    return [Change(*row) for row in sql.execute(_CHANGES)]


def line(sql: Any, lock_name: str, moment: float) -> list[str]:
    """Who stood in line at a moment: to explain a finding."""
    return [
        f"ticket {ticket} of {owner}, looked after by {session or 'itself'} since {moment - since:.3f} s before"
        for ticket, owner, session, since, change in sql.execute(_LINE, (lock_name, moment))
        if change != "delete"
    ]


def overlaps(changes: Iterable[Change], capacities: Mapping[str, int]) -> list[str]:
    """More units in the table than there are, or a writer beside readers."""
    found = []
    rows: dict[str, dict[int, Change]] = {}
    for change in changes:
        there = rows.setdefault(change.lock_name, {})
        if change.change == "delete":
            there.pop(change.token, None)
            continue
        is_new = change.token not in there
        there[change.token] = change
        if is_new:
            written = sum(one.units for one in there.values() if not one.shared)
            if written > capacities[change.lock_name]:
                found.append(f"{change.lock_name}: {written} units stood there with token {change.token}")
            if written and any(one.shared for one in there.values()):
                found.append(f"{change.lock_name}: writers and readers stood there with token {change.token}")
    return found


def early_ends(changes: Iterable[Change], events: Iterable[Event]) -> list[str]:
    """A lease that was ended by time before its time, or removed while it lived though nobody gave it back."""
    found = []
    given_back = {(event.lock_name, event.token) for event in events if event.event in ("released", "adopted")}
    for change in changes:
        who = f"{change.lock_name}: token {change.token}"
        if change.state == "expired" and change.change == "update" and change.at < change.expires_at:
            found.append(f"{who} was expired {change.expires_at - change.at:.6f} s before its time")
        alive = change.state in ("held", "reserved")
        if change.change == "delete" and alive and (change.lock_name, change.token) not in given_back:
            found.append(f"{who} was removed while it was {change.state}")
    return found


def unrecorded(changes: Iterable[Change], events: Iterable[Event]) -> list[str]:
    """Grants of which `lease_event` tells nothing, and the reverse."""
    rows = {(change.lock_name, change.token) for change in changes if change.change == "insert"}
    told = {(event.lock_name, event.token) for event in events if event.event in ("granted", "reserved")}
    return [
        f"{name}: token {token} was {'not told of' if (name, token) in rows else 'told of, but never was'}"
        for name, token in sorted(rows ^ told, key=str)
    ]


@dataclass(frozen=True, slots=True)
class Takeover:
    """How somebody who was waiting for it got a mutex whose owner had died."""

    lock_name: str
    token: int
    owner: str
    """Who got it."""
    over_at: float
    """When the dead owner's lease was over."""
    granted_at: float
    drained: bool
    """A guarded transaction of the dead owner was still open when its lease was over."""


def takeovers(changes: Iterable[Change], exclusive: Collection[str]) -> list[Takeover]:
    """Of mutexes: every lease that ended by time, and the next one, if it was asked for before that end."""
    found = []
    ended: dict[str, Change] = {}
    drained: set[tuple[str, int]] = set()
    for change in changes:
        if change.lock_name not in exclusive:
            continue
        if change.change == "insert":
            dead = ended.pop(change.lock_name, None)
            if dead is not None and change.created_at - change.waited <= dead.expires_at:
                over = (dead.lock_name, dead.token) in drained
                found.append(
                    Takeover(change.lock_name, change.token, change.owner, dead.expires_at, change.created_at, over)
                )
        elif change.state == "expired" and change.change == "update":
            ended[change.lock_name] = change
        elif change.change == "delete":
            dead = ended.get(change.lock_name)
            if dead is not None and dead.token == change.token and dead.xact != change.xact:
                drained.add((change.lock_name, change.token))  # it could not be removed at once
    return found


Spans = Collection[tuple[float, float]]
"""Times from, to."""


def lateness(one: Takeover, away: Spans) -> float:
    """Seconds from the end of the old lease to the new one, without those in which it could not be had."""
    return one.granted_at - one.over_at - _covered(away, one.over_at, one.granted_at)


def _covered(spans: Spans, begin: float, end: float) -> float:
    total, reached = 0.0, begin
    for start, stop in sorted(spans):
        total += max(0.0, min(stop, end) - max(start, reached))
        reached = max(reached, min(stop, end))
    return total
