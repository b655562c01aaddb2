"""What a user declares: a lock's name and how to take it."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from airflow_lockprovider.lease.duration import Duration, seconds
from airflow_lockprovider.lease.errors import ConfigurationError

OnBusy = Literal["wait", "skip", "fail"]
NAME_LIMIT = 200
"""Longest lock name, in characters: it must fit into a notification's payload and an index entry."""

_UNPRINTABLE = ("Cc", "Cs")  # control characters, lone surrogates
_DURATIONS = ("ttl", "expected_hold", "wait_timeout", "hold_at_least", "handover_ttl")
_ALIASES = {"lock_name": "name", "lock_duration": "ttl"}


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock as declared on a task, or handed to a verb of the engine.

    Everything but the name is optional; None means "what the connection or ``[lockprovider]`` says".
    Durations are seconds, text such as ``"10 mins"``, or a timedelta; they are kept in seconds.
    """

    name: str
    ttl: Duration | str | None = None
    """How long the lease lives without renewal (default 120 s). It is renewed while the owner lives."""
    expected_hold: Duration | str | None = None
    """How long the work usually takes; held longer than this, the watch alerts."""
    capacity: int | None = None
    """How many units exist. None takes what the lock's row says (a new lock: 1, a mutex)."""
    units: int = 1
    """How many units this lease takes (like ``pool_slots``)."""
    shared: bool = False
    """True: one of many readers; False: exclusive."""
    priority: int = 0
    """Higher goes first in the queue."""
    on_busy: OnBusy = "wait"
    """What a task does when the lock is taken."""
    wait_timeout: Duration | str | None = None
    """Longest wait for the lock, over all legs of the task. None: no limit."""
    hold_at_least: Duration | str | None = None
    """Keep the lock at least this long, even if the work ends earlier."""
    standby: Literal["auto", "always", "never"] | None = None
    handover_ttl: Duration | str | None = None
    """How long a grant waits for its task to start (default 60 s)."""
    lease_conn_id: str | None = None
    """Airflow connection of the database with the locks."""

    def __post_init__(self) -> None:
        check_name(self.name)
        for name in _DURATIONS:
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, seconds(value, setting=f"{name} of lock {self.name!r}"))
        for name in ("units", "capacity"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ConfigurationError(f"{name}={value!r} of lock {self.name!r} must be a whole number, at least 1")
        if self.capacity is not None and self.units > self.capacity:
            raise ConfigurationError(
                f"lock {self.name!r} takes units={self.units} of capacity={self.capacity}: it could never be granted"
            )
        if isinstance(self.priority, bool) or not isinstance(self.priority, int):
            raise ConfigurationError(f"priority={self.priority!r} of lock {self.name!r} must be a whole number")
        if self.on_busy not in ("wait", "skip", "fail"):
            raise ConfigurationError(f"on_busy={self.on_busy!r} of lock {self.name!r}: use 'wait', 'skip' or 'fail'")
        if self.standby not in (None, "auto", "always", "never"):
            raise ConfigurationError(f"standby={self.standby!r} of lock {self.name!r}: use 'auto', 'always' or 'never'")
        if self.shared not in (True, False):
            raise ConfigurationError(f"shared={self.shared!r} of lock {self.name!r} must be True or False")

    @classmethod
    def of(cls, value: str | Mapping[str, Any] | Lock, *, default_name: str | None = None) -> Lock | None:
        """Read a lock from a name, a mapping as in YAML, or a `Lock`.

        A mapping takes the fields above, ``lock_duration`` (both the ttl and the expected hold) and
        ``lock_status``; None is returned for ``lock_status: disable``. ``default_name`` names a mapping that
        has no name. Raises ConfigurationError for unknown keys.
        """
        if isinstance(value, Lock):
            return value
        if isinstance(value, str):
            return cls(value)
        if not isinstance(value, Mapping):
            raise ConfigurationError(f"lock={value!r} must be a name, a Lock or a mapping, not {type(value).__name__}")
        given = {_ALIASES.get(str(key), str(key)): entry for key, entry in value.items()}
        status = given.pop("lock_status", "enable")
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(given) - known):
            raise ConfigurationError(
                f"lock={dict(value)!r} has unknown {', '.join(map(repr, unknown))}: "
                f"known are {', '.join(sorted(known | {'lock_status', 'lock_duration'}))}"
            )
        if status in ("disable", "disabled", False, "off"):
            return None
        if status not in ("enable", "enabled", True, "on"):
            raise ConfigurationError(f"lock_status={status!r}: use 'enable' or 'disable'")
        if "lock_duration" in value:
            given.setdefault("expected_hold", given["ttl"])
        name = given.pop("name", default_name)
        if name is None:
            raise ConfigurationError(f"lock={dict(value)!r} has no name: add name=")
        return cls(name, **given)

    def named(self, name: str) -> Lock:
        """The same lock under another name (a rendered template)."""
        return replace(self, name=name)


def check_name(name: object) -> str:
    """Return ``name`` if it can name a lock, else raise ConfigurationError."""
    if not isinstance(name, str) or not name.strip():
        raise ConfigurationError(f"lock name {name!r} is empty: name the shared thing, for example 'dwh.sales'")
    if len(name) > NAME_LIMIT:
        raise ConfigurationError(
            f"lock name {name[:40]!r}… has {len(name)} characters, at most {NAME_LIMIT} are possible"
        )
    if name != name.strip() or any(unicodedata.category(char) in _UNPRINTABLE for char in name):
        raise ConfigurationError(f"lock name {name!r} begins or ends with a space or has control characters")
    return name
