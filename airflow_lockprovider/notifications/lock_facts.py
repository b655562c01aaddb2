"""What a failed task had to do with its lock. Pure: the database is asked in `lock_trace`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from airflow_lockprovider.lease.model import Lease, LeaseEvent

_ENDINGS = ("released", "expired", "revoked", "lost", "lapsed", "withdrawn", "pruned")
_BEGINNINGS = ("granted", "confirmed")


@dataclass(frozen=True, slots=True)
class Trace:
    """What the lock database knows of one attempt."""

    leases: tuple[Lease, ...] = ()
    """All living leases of the lock."""
    events: tuple[LeaseEvent, ...] = ()
    """What happened to this attempt, newest first."""
    problem: str | None = None
    """Why the database could not be asked."""


@dataclass(frozen=True, slots=True)
class LockFacts:
    """A lock, as the failed task has held it or waited for it."""

    name: str
    owner: str | None = None
    token: int | None = None
    """Fencing token of the task's own lease; None if it had none."""
    ending: str | None = None
    """How its lease, or its place in line, ended: "released", "expired", "revoked" …; "held": it has not."""
    ended_by: str | None = None
    ended_because: str | None = None
    waited_seconds: float | None = None
    held_seconds: float | None = None
    held_by: tuple[tuple[str, int], ...] = ()
    """Who holds it instead: owner and token."""
    problem: str | None = None
    """Why the lock database could not be asked."""

    def as_detail(self) -> dict[str, Any]:
        """For an event: all fields, and a sentence for people."""
        return {
            "name": self.name,
            "owner": self.owner,
            "token": self.token,
            "ending": self.ending,
            "ended_by": self.ended_by,
            "ended_because": self.ended_because,
            "waited_seconds": self.waited_seconds,
            "held_seconds": self.held_seconds,
            "held_by": [{"owner": owner, "token": token} for owner, token in self.held_by],
            "problem": self.problem,
            "summary": str(self),
        }

    def __str__(self) -> str:
        words = [f"held under token {self.token}" if self.token is not None else "was not held by this task"]
        if self.waited_seconds:
            words.append(f"waited {self.waited_seconds:.1f} s")
        if self.held_seconds is not None:
            words.append(f"held {self.held_seconds:.1f} s")
        if self.ending:
            ending = f"{self.ending} by {self.ended_by}" if self.ended_by else self.ending
            words.append(f"{ending} ({self.ended_because})" if self.ended_because else ending)
        if self.held_by:
            words.append("held by " + ", ".join(f"{owner} (token {token})" for owner, token in self.held_by))
        if self.problem:
            words.append(f"the lock database could not be asked: {self.problem}")
        return f"lock {self.name!r}: {'; '.join(words)}"


def facts_of(name: str, owner_id: str, seen: Lease | None, trace: Trace) -> LockFacts:
    """Put together what the task saw itself (``seen``: its lease, or the one it waited for) and the ``trace``."""
    mine = seen if seen is not None and seen.owner_id == owner_id else None
    mine = mine or next((lease for lease in trace.leases if lease.owner_id == owner_id), None)
    begin = _newest(trace.events, _BEGINNINGS)
    token = mine.token if mine else begin.token if begin else None
    end = _newest((event for event in trace.events if token is None or event.token == token), _ENDINGS)
    living = token in [lease.token for lease in trace.leases if lease.owner_id == owner_id]
    adopted = _newest(trace.events, ("adopted",))
    # Its owner is dead, and nobody has come yet who would write down that its time is over.
    over = begin is not None and begin.token == token and (adopted is None or adopted.token != token)
    ending = end.event if end else "held" if living else "expired" if over else None
    others = trace.leases or ((seen,) if seen is not None and trace.problem else ())
    return LockFacts(
        name=end.lock_name if end else begin.lock_name if begin else mine.lock_name if mine else name,
        owner=mine.owner if mine else begin.owner if begin else None,
        token=token,
        ending=ending,
        ended_by=end.actor if end else None,
        ended_because=end.reason if end else None,
        waited_seconds=_first(*(thing.waited for thing in (mine, end, begin) if thing is not None)),
        held_seconds=_first(end.held if end else None),
        # Who came after a lease that ended well is no part of the story.
        held_by=()
        if ending in ("released", "held")
        else tuple((lease.owner, lease.token) for lease in others if lease.owner_id != owner_id),
        problem=trace.problem,
    )


def _newest(events: Iterable[LeaseEvent], kinds: tuple[str, ...]) -> LeaseEvent | None:
    return next((event for event in events if event.event in kinds), None)


def _first(*values: float | None) -> float | None:
    return next((round(float(value), 3) for value in values if value is not None), None)
