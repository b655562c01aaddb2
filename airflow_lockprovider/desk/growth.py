"""Whether a line is getting longer: more requests come than the lock serves."""

from __future__ import annotations

import math
from dataclasses import dataclass

from airflow_lockprovider.desk.cells import duration

_WORTH_A_WORD = 5
"""A line that is shorter is nobody's trouble yet."""
_MORE_THAN_CHANCE = 1.25
"""Requests come by chance: the line of a lock that is busy but keeps up comes and goes, too. A growth is worth a word
from so many times the root of all comings and goings on, which is how far chance alone takes a line."""


@dataclass(frozen=True, slots=True)
class Growth:
    """What has become of the line of one lock within a span: numbers of living requests."""

    lock_name: str
    at_begin: int
    """When the span began."""
    at_middle: int
    at_late: int
    """A quarter of the span before its end."""
    waiting: int
    """Now."""
    came: int
    served: int
    gave_up: int
    """Withdrawn, or nobody looks after them any more."""
    capacity: int

    @property
    def is_steady(self) -> bool:
        """It has grown steadily, up to now, and by more than chance.

        A burst makes one step: so each half of the span must have its part of the growth, a quarter of it at least, and
        each of the last two quarters some. A burst that was cut in two by the middle of the span is being worked off by
        now.
        """
        grown = self.waiting - self.at_begin
        return (
            self.waiting >= _WORTH_A_WORD
            and grown >= _MORE_THAN_CHANCE * math.sqrt(self.came + self.served + self.gave_up)
            and min(self.at_middle - self.at_begin, self.waiting - self.at_middle) * 4 >= grown
            and self.at_middle < self.at_late < self.waiting
        )

    def in_words(self, span: float) -> str:
        """The numbers, for people."""
        served = "none was" if not self.served else "1 was" if self.served == 1 else f"{self.served} were"
        gave_up = f", {self.gave_up} gave up" if self.gave_up else ""
        then = f"{self.at_begin} did {duration(span)} ago"
        return f"{self.waiting} wait, {then}: {self.came} came, {served} served{gave_up}"
