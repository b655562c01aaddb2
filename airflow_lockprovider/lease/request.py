"""What is asked for in one go: one lock, or several at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.lease.lock import Lock

Locks = list[str] | list[Lock] | list[str | Lock] | tuple[str | Lock, ...]
"""Several locks at once."""


@dataclass(frozen=True, slots=True)
class Request:
    """One or several locks, taken all or nothing, with one ticket and one priority.

    Units, sharing and capacity are each lock's own. What belongs to the request as a whole is the strictest that its
    locks say: the highest priority, the shortest ttl and wait_timeout, the longest hold_at_least.
    """

    locks: tuple[Lock, ...]
    """By name."""
    several: bool
    """Whether a sequence was asked for: then the answer is a LeaseSet, also for a sequence of one."""

    @classmethod
    def of(cls, lock: str | Lock | Locks, **given: Any) -> Request:
        """Read what a verb was given. ``given`` (not None) overrides the field of every lock."""
        several = isinstance(lock, list | tuple)
        asked: Iterable[Any] = lock if isinstance(lock, list | tuple) else (lock,)
        changes = {name: value for name, value in given.items() if value is not None}
        locks = []
        for one in asked:
            if not isinstance(one, str | Lock):
                raise ConfigurationError(f"lock {lock!r} must be a name or a Lock, or a list of these")
            wanted = Lock(one) if isinstance(one, str) else one
            locks.append(replace(wanted, **changes) if changes else wanted)
        if not locks:
            raise ConfigurationError(f"lock {lock!r} is empty: name at least one lock")
        locks.sort(key=lambda wanted: wanted.name)
        for first, second in pairwise(locks):
            if first.name == second.name:
                raise ConfigurationError(f"lock {first.name!r} is named twice in one request: name it once")
        return cls(tuple(locks), several)

    @property
    def names(self) -> list[str]:
        return [lock.name for lock in self.locks]

    @property
    def label(self) -> str:
        """All names, for answers and errors."""
        return ", ".join(self.names)

    @property
    def priority(self) -> int:
        return max(lock.priority for lock in self.locks)

    @property
    def ttl(self) -> float | None:
        return self._strictest("ttl", min)

    @property
    def wait_timeout(self) -> float | None:
        return self._strictest("wait_timeout", min)

    @property
    def hold_at_least(self) -> float:
        """Seconds; 0: no longer than the work takes."""
        return self._strictest("hold_at_least", max) or 0.0

    def params(self) -> dict[str, Any]:
        """What the statements need: a value per lock, or None for all defaults: drivers are slow with lists."""
        lists: dict[str, tuple[list[Any], Any]] = {
            "units": ([lock.units for lock in self.locks], 1),
            "capacity": ([lock.capacity for lock in self.locks], None),
            "shared": ([lock.shared for lock in self.locks], False),
        }
        named = {
            name: None if all(value == usual for value in values) else values for name, (values, usual) in lists.items()
        }
        return {"lock_names": self.names, **named}

    def _strictest(self, name: str, choose: Callable[[Iterable[float]], float]) -> float | None:
        said = [value for lock in self.locks if (value := getattr(lock, name)) is not None]
        return choose(said) if said else None

    def __str__(self) -> str:
        names = ", ".join(map(repr, self.names))
        return f"locks {names}" if len(self.locks) > 1 else f"lock {names}"
