"""A trouble, and the rules of when people hear of it: those of functions_alerts.sql. Pure; time is passed in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

_WAITED_FOR = timedelta(days=1)
_AGAIN = timedelta(minutes=1)
"""After a message that reached nobody."""


@dataclass(slots=True)
class Trouble:
    """How often something failed since when, and which part of that people know. Times are naive, in UTC."""

    alert_key: str
    title: str
    is_open: bool
    announced: bool
    """Whether people think that it is broken: told of it, and not yet told that it is over."""
    occurrences: int
    first_seen: datetime
    last_seen: datetime
    told: int
    """Messages of this episode."""
    told_occurrences: int
    told_at: datetime | None
    due_at: datetime
    """No further message before, unless the number grows tenfold."""

    @classmethod
    def new(cls, alert_key: str, title: str, now: datetime) -> Trouble:
        """One that has not failed yet; the first time is told at once."""
        return cls(alert_key, title, True, False, 0, now, now, 0, 0, None, now)

    def fails(self, title: str, now: datetime) -> bool:
        """Count one failure; whether people must be told of it.

        An episode that was over for less than its pause goes on: what breaks and works by turns is no news every time.
        """
        if not self.is_open and now > self.due_at:
            self.first_seen, self.occurrences, self.told, self.told_occurrences, self.told_at = now, 0, 0, 0, None
        self.is_open = True
        self.title = title
        self.last_seen = now
        self.occurrences += 1
        return now >= self.due_at or (self.occurrences >= 10 and _is_power_of_ten(self.occurrences))

    def tell(self, pauses: Sequence[float], now: datetime) -> None:
        """A message goes out. ``pauses``: seconds until the next one, after the first, the second …"""
        self.told += 1
        self.told_at = now
        self.told_occurrences = self.occurrences
        self.announced = True
        self.due_at = now + timedelta(seconds=pauses[min(self.told, len(pauses)) - 1])

    def grown(self, now: datetime) -> bool:
        """Whether there is more to tell than people know, and the pause is over."""
        return self.is_open and self.due_at <= now and self.occurrences > self.told_occurrences

    def quiet(self, now: datetime) -> bool:
        """Whether people know that it is broken, and their pause is not over."""
        return self.is_open and self.announced and now < self.due_at

    def works(self) -> bool:
        """It is over; whether people must be told."""
        must_tell, self.is_open, self.announced, self.told_occurrences = self.announced, False, False, self.occurrences
        return must_tell

    def unreached(self, known: int, told_at: datetime | None, now: datetime) -> None:
        """The last message has reached nobody: people know of ``known`` occurrences, told at ``told_at``. The next
        failure tries again."""
        self.announced = self.told > 1
        self.told = max(0, self.told - 1)
        self.told_at, self.told_occurrences = told_at, known
        self.due_at = min(self.due_at, now + _AGAIN)

    def end_unreached(self) -> bool:
        """The message of its end has reached nobody: the next success tries again. False: it has failed meanwhile."""
        if self.is_open:
            return False
        self.is_open = self.announced = True
        return True


def is_missed(seen_at: datetime, now: datetime) -> bool:
    """Whether a part that failed then, and has not worked since, keeps its trouble open."""
    return seen_at > now - _WAITED_FOR


def _is_power_of_ten(number: int) -> bool:
    return str(number).rstrip("0") == "1"
