"""What the engine should do, in as few words as possible: a model in memory, without time of its own.

A lease that is over is simply not there, unless something keeps its row: an open guarded transaction, or the time that
it is held at least. Then it is a `Remnant`: it counts its units, and that is all it does.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Literal

Wanted = dict[str, tuple[int, bool]]
"""Lock name to units and shared."""
Key = tuple[str, int]
"""Lock name and token."""


@dataclass
class Grant:
    """Living leases of one request: a token per lock. Of a reserved set, some may have lapsed."""

    owner: str
    wanted: Wanted
    state: Literal["held", "reserved"]
    ticket: int | None
    tokens: dict[str, int] = field(default_factory=dict)


@dataclass
class Remnant:
    """A lease that is over, and still counts. ``adopted``: it is kept for this owner, to become its lease."""

    owner: str
    units: int
    shared: bool
    adopted: bool = False


@dataclass
class Place:
    """A request in line."""

    ticket: int
    owner: str
    wanted: Wanted
    priority: int
    alive: bool = True


@dataclass(frozen=True)
class Refusal:
    """Not now: how many stand before the request, and what counts on its locks."""

    position: int
    out: frozenset[Key]


class Refused(Exception):
    """What can never be, in the engine's words."""


TOO_MUCH = "never be granted"
OTHER_SET = "already waits for"


class Model:
    """The verbs."""

    def __init__(self, names: list[str]) -> None:
        self.capacity = dict.fromkeys(names, 1)
        self.paused = dict.fromkeys(names, False)
        self.grants: list[Grant] = []
        self.remnants: dict[Key, Remnant] = {}
        self.guarded: set[Key] = set()
        """Leases under which a guarded transaction is open."""
        self.kept: set[Key] = set()
        """Leases that are held at least until some later time."""
        self.line: list[Place] = []
        self._tickets = itertools.count(1)

    # What the rules are

    def in_order(self) -> list[Place]:
        return sorted(self.line, key=lambda place: (-place.priority, place.ticket))

    def reservation(self, ticket: int) -> Grant | None:
        return next((one for one in self.grants if one.ticket == ticket and one.state == "reserved"), None)

    def is_reserved(self, ticket: int, name: str) -> bool:
        return (grant := self.reservation(ticket)) is not None and name in grant.tokens

    def counts(self, place: Place, name: str) -> bool:
        """Whether others have to let it go first, on this lock."""
        return place.alive and not self.is_reserved(place.ticket, name) and place.wanted[name][0] <= self.capacity[name]

    def possible(self, wanted: Wanted) -> bool:
        return all(units <= self.capacity[name] for name, (units, _) in wanted.items())

    def ahead(self, wanted: Wanted, ticket: int | None) -> int:
        """The longest line that stands before the request, over its locks."""
        before = itertools.takewhile(lambda place: place.ticket != ticket, self.in_order())
        lines = dict.fromkeys(wanted, 0)
        for place in before:
            for name in wanted.keys() & place.wanted.keys():
                if self.counts(place, name) and not (wanted[name][1] and place.wanted[name][1]):
                    lines[name] += 1
        return max(lines.values())

    def fits(self, name: str, units: int, shared: bool, looking: bool) -> bool:
        """``looking``: a poll does not know whether what is over can go, but it knows what is kept for a time."""
        out = [grant.wanted[name] for grant in self.grants if name in grant.tokens]
        out += [
            (one.units, one.shared)
            for key, one in self.remnants.items()
            if key[0] == name and (key in self.kept or not looking)
        ]
        if shared:
            return all(is_shared for _, is_shared in out)
        return not any(is_shared for _, is_shared in out) and sum(n for n, _ in out) + units <= self.capacity[name]

    def grantable(self, wanted: Wanted, ticket: int | None, looking: bool = False) -> bool:
        return (
            self.ahead(wanted, ticket) == 0
            and not any(self.paused[name] for name in wanted)
            and all(self.fits(name, *what, looking) for name, what in wanted.items())
        )

    def living(self) -> dict[Key, Grant]:
        return {key: grant for grant in self.grants for key in grant.tokens.items()}

    # Verbs. A Grant that comes back has no tokens yet if it is new: the engine draws them.

    def try_acquire(self, owner: str, wanted: Wanted) -> Grant | Refusal | None:
        if not self.possible(wanted):
            raise Refused(TOO_MUCH)
        for grant in self.grants:
            if grant.owner == owner and grant.state == "held" and grant.tokens.keys() == wanted.keys():
                return grant
        if (place := self._place_of(owner, wanted)) is not None:
            return self.confirm(place.ticket, owner)
        return self._admit(owner, wanted, None, "held")

    def enqueue(self, owner: str, wanted: Wanted, priority: int) -> Place:
        if not self.possible(wanted):
            raise Refused(TOO_MUCH)
        if (place := self._place_of(owner, wanted)) is not None:
            place.alive = True
            return place
        self.line.append(Place(next(self._tickets), owner, wanted, priority))
        return self.line[-1]

    def reserve(self, ticket: int) -> Grant | Refusal:
        place = self.place(ticket)
        assert place
        if not self.possible(place.wanted):
            raise Refused(TOO_MUCH)
        if (reserved := self._whole_reservation(place)) is not None:
            return reserved
        answer = self._admit(place.owner, place.wanted, ticket, "reserved")
        if isinstance(answer, Grant):
            place.alive = True
        return answer

    def confirm(self, ticket: int, owner: str) -> Grant | Refusal:
        place = self.place(ticket)
        assert place
        if not self.possible(place.wanted):
            raise Refused(TOO_MUCH)
        answer: Grant | Refusal
        if (reserved := self._whole_reservation(place)) is not None:
            reserved.state = "held"
            answer = reserved
        else:
            answer = self._admit(owner, place.wanted, ticket, "held")
        if isinstance(answer, Grant):
            self.line.remove(place)
        else:
            place.alive = True
        return answer

    def withdraw(self, ticket: int) -> None:
        place = self.place(ticket)
        assert place
        self.line.remove(place)
        if (reserved := self.reservation(ticket)) is not None:
            self.grants.remove(reserved)

    def poll(self, ticket: int) -> tuple[str, int]:
        place = self.place(ticket)
        if place is None:
            return "gone", 0
        place.alive = True
        may_go = self.grantable(place.wanted, ticket, looking=True)
        return "try" if may_go or not self.possible(place.wanted) else "wait", self.ahead(place.wanted, ticket)

    def adopt(self, owner: str, previous: str, names: list[str]) -> Grant | Refusal | None:
        """All that the earlier attempt holds, or what an earlier call has taken from it; None: that is not all."""
        mine = {key[0]: grant for key, grant in self.living().items() if grant.owner == owner and grant.state == "held"}
        if all(name in mine for name in names):
            return mine[names[0]]
        theirs = {
            key: Remnant(owner, *grant.wanted[key[0]], adopted=True)
            for key, grant in self.living().items()
            if grant.owner == previous and grant.state == "held" and key[0] in names
        }
        taken = {
            key: one for key, one in self.remnants.items() if one.adopted and one.owner == owner and key[0] in names
        }
        if sorted(name for name, _ in theirs.keys() | taken.keys()) != sorted(names):
            return None
        if any(self.paused[name] for name in names):
            return self._refusal(names, 0)
        for key, one in theirs.items():
            self.end(key, forget=True)
            self.remnants[key] = one
        self.kept |= theirs.keys()
        if self.guarded & (theirs.keys() | taken.keys()):
            return self._refusal(names, 0)
        wanted = {name: (one.units, one.shared) for (name, _), one in (theirs | taken).items()}
        for key in theirs.keys() | taken.keys():
            del self.remnants[key]
            self.kept.discard(key)
        self.grants.append(Grant(owner, wanted, "held", None, dict.fromkeys(sorted(names), 0)))
        return self.grants[-1]

    def revoke(self, name: str, token: int | None) -> set[Key]:
        """Every lease that was taken away: a reservation with the rest of its set and with its place in line."""
        gone = set()
        for key, grant in self.living().items():
            if key[0] != name or token not in (None, key[1]):
                continue
            if grant.state == "held":
                gone.add(key)
                self.end(key, forget=True)
            else:
                gone |= grant.tokens.items()
                assert grant.ticket is not None
                self.withdraw(grant.ticket)
        for key in [key for key in self.kept & self.remnants.keys() if key[0] == name and token in (None, key[1])]:
            self.no_longer_kept(key)
        return gone

    # What time and others do

    def end(self, key: Key, forget: bool = False) -> None:
        """The lease is over. ``forget``: also for how long it was to be held at least."""
        grant = self.living()[key]
        del grant.tokens[key[0]]
        if not grant.tokens:
            self.grants.remove(grant)
        if forget:
            self.kept.discard(key)
        if grant.state == "held" and (key in self.guarded or key in self.kept):
            self.remnants[key] = Remnant(grant.owner, *grant.wanted[key[0]])

    def no_longer_kept(self, key: Key) -> None:
        self.kept.discard(key)
        self._sweep(key)

    def no_longer_guarded(self, key: Key) -> None:
        self.guarded.discard(key)
        self._sweep(key)

    def place(self, ticket: int) -> Place | None:
        return next((place for place in self.line if place.ticket == ticket), None)

    # Help

    def _sweep(self, key: Key) -> None:
        if key not in self.guarded | self.kept:
            self.remnants.pop(key, None)

    def _whole_reservation(self, place: Place) -> Grant | None:
        """Of one that has lapsed in part, the rest is given up."""
        reserved = self.reservation(place.ticket)
        if reserved is not None and reserved.tokens.keys() != place.wanted.keys():
            self.grants.remove(reserved)
            return None
        return reserved

    def _place_of(self, owner: str, wanted: Wanted) -> Place | None:
        for place in self.line:
            if place.owner == owner and place.wanted.keys() & wanted.keys():
                if place.wanted.keys() != wanted.keys():
                    raise Refused(OTHER_SET)
                return place
        return None

    def _refusal(self, names: list[str], position: int) -> Refusal:
        return Refusal(
            position, frozenset(key for key in self.living().keys() | self.remnants.keys() if key[0] in names)
        )

    def _admit(
        self, owner: str, wanted: Wanted, ticket: int | None, state: Literal["held", "reserved"]
    ) -> Grant | Refusal:
        if not self.grantable(wanted, ticket):
            return self._refusal(list(wanted), self.ahead(wanted, ticket))
        self.grants.append(Grant(owner, wanted, state, ticket, dict.fromkeys(wanted, 0)))
        return self.grants[-1]
