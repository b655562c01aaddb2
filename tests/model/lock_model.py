"""What the engine should do, in as few words as possible: a model in memory, without time of its own.

No transaction is guarded here, so nothing drains; a lease that is over is simply not there.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Literal

Wanted = dict[str, tuple[int, bool]]
"""Lock name to units and shared."""


@dataclass
class Grant:
    """Living leases of one request: a token per lock."""

    owner: str
    wanted: Wanted
    state: Literal["held", "reserved"]
    ticket: int | None
    tokens: dict[str, int] = field(default_factory=dict)


@dataclass
class Place:
    """A request in line."""

    ticket: int
    owner: str
    wanted: Wanted
    priority: int
    alive: bool = True


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
        self.line: list[Place] = []
        self._tickets = itertools.count(1)

    # What the rules are

    def in_order(self) -> list[Place]:
        return sorted(self.line, key=lambda place: (-place.priority, place.ticket))

    def reservation(self, ticket: int) -> Grant | None:
        return next((one for one in self.grants if one.ticket == ticket and one.state == "reserved"), None)

    def counts(self, place: Place, name: str) -> bool:
        """Whether others have to let it go first, on this lock."""
        return place.alive and self.reservation(place.ticket) is None and place.wanted[name][0] <= self.capacity[name]

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

    def fits(self, name: str, units: int, shared: bool) -> bool:
        out = [grant.wanted[name] for grant in self.grants if name in grant.tokens]
        if shared:
            return all(is_shared for _, is_shared in out)
        return not any(is_shared for _, is_shared in out) and sum(n for n, _ in out) + units <= self.capacity[name]

    def grantable(self, wanted: Wanted, ticket: int | None) -> bool:
        return (
            self.ahead(wanted, ticket) == 0
            and not any(self.paused[name] for name in wanted)
            and all(self.fits(name, *what) for name, what in wanted.items())
        )

    # Verbs. A Grant that comes back has no tokens yet if it is new: the engine draws them.

    def try_acquire(self, owner: str, wanted: Wanted) -> Grant | None:
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

    def reserve(self, ticket: int) -> Grant | None:
        place = self.place(ticket)
        assert place
        if not self.possible(place.wanted):
            raise Refused(TOO_MUCH)
        if (reserved := self.reservation(ticket)) is not None:
            return reserved
        if (grant := self._admit(place.owner, place.wanted, ticket, "reserved")) is not None:
            place.alive = True
        return grant

    def confirm(self, ticket: int, owner: str) -> Grant | None:
        place = self.place(ticket)
        assert place
        if not self.possible(place.wanted):
            raise Refused(TOO_MUCH)
        if (grant := self.reservation(ticket)) is not None:
            grant.state = "held"
        else:
            grant = self._admit(owner, place.wanted, ticket, "held")
        if grant is None:
            place.alive = True
        else:
            self.line.remove(place)
        return grant

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
        verdict = "try" if self.grantable(place.wanted, ticket) or not self.possible(place.wanted) else "wait"
        return verdict, self.ahead(place.wanted, ticket)

    def place(self, ticket: int) -> Place | None:
        return next((place for place in self.line if place.ticket == ticket), None)

    def _place_of(self, owner: str, wanted: Wanted) -> Place | None:
        for place in self.line:
            if place.owner == owner and place.wanted.keys() & wanted.keys():
                if place.wanted.keys() != wanted.keys():
                    raise Refused(OTHER_SET)
                return place
        return None

    def _admit(
        self, owner: str, wanted: Wanted, ticket: int | None, state: Literal["held", "reserved"]
    ) -> Grant | None:
        if not self.grantable(wanted, ticket):
            return None
        self.grants.append(Grant(owner, wanted, state, ticket, dict.fromkeys(wanted, 0)))
        return self.grants[-1]
