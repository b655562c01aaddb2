"""Judges a run by what it left in the database: `lease_event`, and a table that was written under the leases.

Separate from the engine on purpose: it reads nothing else, and shares no code with what it judges. Every check returns
findings in words; none means that nothing was found. What is a question of order goes by the numbers of the lines, not
by their times: a line is written some milliseconds after the moment that it tells of. See also `witness`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_GRANTS = ("granted", "reserved")
_ENDS = ("released", "revoked", "expired", "lapsed", "adopted")
_OVER = ("granted", "confirmed", "withdrawn", "pruned")
"""What ends a request in line."""

EVENTS = """
select event_id, extract(epoch from at)::float8, lock_name, token, owner_id, event, ticket, coalesce(units, 1),
       coalesce((context ->> 'shared')::boolean, false)
from lockprovider.lease_event where event <> 'guarded' order by event_id
"""
WRITES = "select lock_name, token, before, extract(epoch from at)::float8 from ledger order by ledger_id"
"""What workers note in the transaction of each increment: the value they had read, and when."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of history. Times in seconds, by the server's clock."""

    event_id: int
    at: float
    lock_name: str
    token: int | None
    owner_id: str
    event: str
    ticket: int | None = None
    units: int = 1
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Write:
    """One committed increment of the counter of a lock: from `before` to `before` + 1."""

    lock_name: str
    token: int
    before: int
    at: float


def read(sql: Any) -> tuple[list[Event], list[Write]]:
    """The history of a database, over an open connection."""
    return read_events(sql), [Write(*row) for row in sql.execute(WRITES)]


def read_events(sql: Any) -> list[Event]:
    """The lines of `lease_event`, in their order."""
    return [Event(*row) for row in sql.execute(EVENTS)]


def overlaps(events: Iterable[Event], capacities: Mapping[str, int]) -> list[str]:
    """More units out than there are, a writer beside readers, or an end without a beginning."""
    found = []
    out: dict[str, dict[int | None, Event]] = defaultdict(dict)
    for event in events:
        living = out[event.lock_name]
        if event.event in _ENDS:
            if living.pop(event.token, None) is None:
                found.append(f"{event.lock_name}: token {event.token} was {event.event}, but was not out")
        elif event.event in _GRANTS:
            living[event.token] = event
            writers = sum(one.units for one in living.values() if not one.shared)
            readers = [one for one in living.values() if one.shared]
            if writers > capacities.get(event.lock_name, 1):
                found.append(f"{event.lock_name}: {writers} units were out at the grant of token {event.token}")
            if writers and readers:
                found.append(f"{event.lock_name}: writers and readers were inside at the grant of token {event.token}")
    return found


def shrinking_tokens(events: Iterable[Event]) -> list[str]:
    """A grant whose token is not above all earlier ones of its lock."""
    found, last = [], dict[str, int]()
    for event in events:
        if event.event in _GRANTS:
            assert event.token is not None
            if event.token <= last.get(event.lock_name, 0):
                found.append(f"{event.lock_name}: token {event.token} came after {last[event.lock_name]}")
            last[event.lock_name] = max(event.token, last.get(event.lock_name, 0))
    return found


def lost_updates(writes: Iterable[Write], counters: Mapping[str, int]) -> list[str]:
    """Two increments from the same value, or a counter that is not the sum of the committed increments."""
    found = []
    seen: dict[str, set[int]] = defaultdict(set)
    total: dict[str, int] = defaultdict(int)
    for write in writes:
        total[write.lock_name] += 1
        if write.before in seen[write.lock_name]:
            found.append(f"{write.lock_name}: the increment from {write.before} was made twice")
        seen[write.lock_name].add(write.before)
    return found + [
        f"{name}: {total[name]} increments were committed, the counter says {counters.get(name, 0)}"
        for name in sorted(total.keys() | counters.keys())
        if total[name] != counters.get(name, 0)
    ]


def late_writes(events: Iterable[Event], writes: Iterable[Write], exclusive: Collection[str]) -> list[str]:
    """On mutexes: a write under a token after a newer one was granted, or under a token that never was."""
    found = []
    granted: dict[str, dict[int, float]] = defaultdict(dict)
    for event in events:
        if event.event in _GRANTS and event.token is not None:
            granted[event.lock_name][event.token] = event.at
    ordered = {name: sorted(tokens) for name, tokens in granted.items()}
    position = {name: {token: place for place, token in enumerate(tokens)} for name, tokens in ordered.items()}
    newest: dict[str, int] = defaultdict(int)
    for write in sorted(writes, key=lambda one: (one.lock_name, one.before)):
        if write.lock_name not in exclusive:
            continue
        name, token = write.lock_name, write.token
        if token not in granted[name]:
            found.append(f"{name}: a write under token {token}, which was never granted")
            continue
        if token < newest[name]:
            found.append(f"{name}: the increment from {write.before} under token {token} came after {newest[name]}'s")
        newest[name] = max(newest[name], token)
        place = position[name][token] + 1
        if place < len(ordered[name]) and write.at > granted[name][ordered[name][place]]:
            found.append(
                f"{name}: a write under token {token} came {write.at - granted[name][ordered[name][place]]:.3f} s "
                f"after {ordered[name][place]} was granted"
            )
    return found


def lost_waiters(
    events: Iterable[Event], asked: Iterable[tuple[str, str]], still: Collection[tuple[str, str]]
) -> list[str]:
    """Requests (lock name, owner_id) that were made, are not in line any more (`still`), and came to no end."""
    ended = {(event.lock_name, event.owner_id) for event in events if event.event in _OVER}
    return [
        f"{name}: the request of {owner} was lost" for name, owner in asked if (name, owner) not in ended | set(still)
    ]


def overtaken(events: Iterable[Event]) -> list[str]:
    """On mutexes whose waiters all live and have one priority: somebody granted before an older ticket."""
    found, newest = [], dict[str, int]()
    for event in events:
        if event.event in ("granted", "reserved") and event.ticket is not None:
            if event.ticket < newest.get(event.lock_name, 0):
                found.append(f"{event.lock_name}: ticket {event.ticket} came after {newest[event.lock_name]}")
            newest[event.lock_name] = max(event.ticket, newest.get(event.lock_name, 0))
    return found
