"""Values that the engine returns. They are facts of one moment, never handles: renewing gives a new one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

LeaseState = Literal["reserved", "held", "released", "revoked", "expired"]


@dataclass(frozen=True, slots=True)
class Lease:
    """A grant: this owner has this lock, under this fencing token, until it expires."""

    lock_name: str
    owner_id: str
    """Unique per attempt; compare this, never `owner`."""
    owner: str
    """For people: ``dag/run/task[map]#try``, or whatever the caller gave."""
    token: int
    """Fencing token: grows with every grant of this lock and never goes back."""
    units: int
    shared: bool
    state: LeaseState
    ttl: float
    """Seconds that a renewal is worth."""
    remaining: float
    """Seconds until it expires, as the database saw it while answering."""
    created_at: datetime
    expires_at: datetime
    context: Mapping[str, Any] = field(default_factory=dict)
    ticket: int | None = None
    """The place in line that led to this grant; None if the lock was free at once."""
    waited: float = 0.0
    """Seconds from the ticket to the grant."""
    trusted_until: float = 0.0
    """Local deadline on `clock.boottime()`: the moment before the question was sent + remaining."""
    guard: str = ""
    """SQL that fails its transaction unless this lease is still held; send it first, inside a transaction."""

    @property
    def leases(self) -> tuple[Lease, ...]:
        """Itself: what is done to one lease or to a LeaseSet is done to these."""
        return (self,)

    def __bool__(self) -> Literal[True]:
        return True

    def __str__(self) -> str:
        return f"lease on {self.lock_name!r}, token {self.token}, of {self.owner}"


@dataclass(frozen=True, slots=True)
class Busy:
    """The lock was not granted. False in a condition; says who holds it."""

    lock_name: str
    """Of a request for several locks: all names."""
    leases: tuple[Lease, ...] = ()
    """What holds the lock, also reservations and draining leases."""
    position: int = 0
    """How many living requests stand before this one."""
    paused: bool = False

    def __bool__(self) -> Literal[False]:
        return False

    def __str__(self) -> str:
        if self.paused:
            why = "it is paused"
        elif self.leases:
            first = self.leases[0]
            since = f"{first.created_at:%Y-%m-%d %H:%M:%S%z}"
            which = "" if first.lock_name == self.lock_name else f"{first.lock_name!r} is "
            why = f"{which}held by {first.owner} since {since} (token {first.token}, {first.state})"
            if len(self.leases) > 1:
                why += f" and {len(self.leases) - 1} more"
        else:
            why = "others are next in line"
        line = f"; {self.position} before us in line" if self.position else ""
        return f"lock {self.lock_name!r} is busy: {why}{line}"


@dataclass(frozen=True, slots=True)
class Ticket:
    """A place in line, drawn by one attempt."""

    number: int
    lock_name: str
    owner_id: str
    created_at: datetime
    waited: float
    """Seconds since it was drawn, by the database's clock."""


@dataclass(frozen=True, slots=True)
class TicketView:
    """What a poll says about a ticket: try it, go on waiting, or forget it."""

    number: int
    verdict: Literal["try", "wait", "gone", "call"]
    position: int
    """How many living requests stand before it."""


@dataclass(frozen=True, slots=True)
class Blocker:
    """One thing that keeps a request waiting."""

    kind: Literal["lease", "request", "pause", "capacity"]
    """Somebody holds it (or still drains); an older request goes first; it is paused; there is not enough of it."""
    what: str
    """For people."""
    token: int | None = None
    ticket: int | None = None

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


@dataclass(frozen=True, slots=True)
class Waiter:
    """A queued request and its place in line."""

    ticket: int
    lock_name: str
    owner_id: str
    owner: str
    units: int
    shared: bool
    priority: int
    created_at: datetime
    waited: float
    """Seconds since the ticket was drawn, by the database's clock."""
    position: int
    """1 is the head of the line."""
    alive: bool
    """False: nobody has looked after this request for `skip_after` seconds, it is passed over."""
    blocked_by: tuple[Blocker, ...] = ()
    """What keeps it from being granted on this lock now. A request for several locks waits for all of them."""
    context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Renewal:
    """The answer for one lease of a batch: the new lease, or why it is gone."""

    lease: Lease
    """Renewed if `outcome` is "renewed", else as it was handed in."""
    outcome: Literal["renewed", "lost", "skipped"]
    """"skipped": its row was locked for a moment, ask again within a second; that is no loss."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LeaseEvent:
    """One line of history."""

    at: datetime
    lock_name: str
    token: int | None
    owner_id: str
    owner: str
    event: str
    waited: float | None
    held: float | None
    actor: str | None
    reason: str | None
