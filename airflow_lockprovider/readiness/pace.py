"""How long to wait before looking again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from random import random

from airflow_lockprovider.lease.errors import ConfigurationError

Interval = float | timedelta | tuple[float | timedelta, float | timedelta] | list[float | timedelta]
"""Seconds or a timedelta; or (shortest, longest)."""


class Pace:
    """Intervals in seconds: the shortest one while data arrives, half as long again each time it does not.

    After an error: twice as long each time, less up to a half by chance, so that a thousand tasks that were
    throttled together do not come back together. ``chance`` gives numbers from 0 up to 1.
    """

    def __init__(self, shortest: float, longest: float, *, chance: Callable[[], float] = random) -> None:
        self.shortest, self.longest = shortest, longest
        self.interval = shortest
        self._chance = chance

    @classmethod
    def of(cls, interval: Interval) -> Pace:
        """From what users write: one number, or a pair. ConfigurationError if it is neither."""
        pair = interval if isinstance(interval, list | tuple) else (interval, interval)
        if len(pair) != 2 or not all(isinstance(part, int | float | timedelta) for part in pair):
            raise ConfigurationError(_RULE.format(interval))
        shortest, longest = (part.total_seconds() if isinstance(part, timedelta) else part for part in pair)
        if not 0 < shortest <= longest:
            raise ConfigurationError(_RULE.format(interval))
        return cls(shortest, longest)

    def next(self, *, progress: bool, error: bool = False) -> float:
        """Seconds until the next look. ``error``: the look ended with an error of the network or of AWS."""
        if error:
            self.interval = min(self.interval * 2, self.longest)
            return self.interval * (1 - self._chance() / 2)
        now = self.shortest if progress else self.interval
        self.interval = min(now * 1.5, self.longest)
        return now


_RULE = "poke_interval={!r} must be seconds above zero, a timedelta, or a pair of these (shortest, longest)"
