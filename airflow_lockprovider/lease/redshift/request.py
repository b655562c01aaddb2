"""What somebody asks for, checked as Postgres' functions check it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from airflow_lockprovider.lease.errors import ConfigurationError

_YEAR = 31_622_400
_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Wanted:
    """One lock of a request. ``capacity`` is what was declared; None takes what there is."""

    lock_name: str
    units: int = 1
    shared: bool = False
    capacity: int | None = None


def wanted(lock_names: Sequence[str], units: Any = None, shared: Any = None, capacity: Any = None) -> list[Wanted]:
    """The locks of a request, in sorted order. Values are one for all, or one for each."""
    parts = zip(
        lock_names, _each(units, lock_names), _each(shared, lock_names), _each(capacity, lock_names), strict=True
    )
    result = [
        Wanted(name, 1 if count is None else count, bool(share), declared) for name, count, share, declared in parts
    ]
    return sorted(result, key=lambda one: one.lock_name)


def check(wants: Sequence[Wanted], owner_id: str, seconds: float, hold_at_least: float | None = None) -> None:
    """Raises ConfigurationError for what can never work."""
    if not wants:
        raise ConfigurationError("no lock name was given")
    names = [one.lock_name for one in wants]
    for name in names:
        if not name or not name.strip() or len(name) > _LIMIT:
            raise ConfigurationError(f'lock name "{(name or "")[:40]}" must have 1 to {_LIMIT} characters')
    if len(set(names)) != len(names):
        raise ConfigurationError(f"lock names {names} repeat")
    if not owner_id:
        raise ConfigurationError("owner_id is empty: it must be unique per attempt")
    for one in wants:
        if one.units < 1:
            raise ConfigurationError(f"units={one.units} must be at least 1")
        if one.capacity is not None and one.capacity < 1:
            raise ConfigurationError(f"units={one.capacity} must be at least 1")
    check_ttl(seconds)
    if hold_at_least is not None and not 0 <= hold_at_least <= _YEAR:
        raise ConfigurationError(f"hold_at_least={hold_at_least} must be at least zero seconds and at most a year")


def check_ttl(seconds: float) -> None:
    """Raises ConfigurationError unless this is a time that a lease can live."""
    if seconds is None or not 0 < seconds <= _YEAR:
        raise ConfigurationError(f"ttl={seconds} must be above zero seconds and at most a year")


def _each(value: Any, lock_names: Sequence[str]) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value] * len(lock_names)
