"""What a task asks for: one lock, or several at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from airflow_lockprovider import config
from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.lease.lock import Lock, OnBusy
from airflow_lockprovider.lease.request import Request
from airflow_lockprovider.operators.scope_ref import InScope, Scope

if TYPE_CHECKING:
    from airflow_lockprovider.lease.standby import Mode

OneLock = str | Lock | Mapping[str, Any]
LockLike = OneLock | Sequence[OneLock]
"""A name, a `Lock`, a mapping such as ``{"lock_status": "enable", "lock_duration": "10 mins"}``, or a list of these."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The locks of one task. Several are one request: one place in line, all of them or none."""

    locks: tuple[Lock, ...]
    several: bool
    """Whether a list was declared: then the lease is a LeaseSet, also for a list of one."""
    scope: Scope | None = None
    """The scope that this task is a member of, and that holds these locks."""

    @classmethod
    def of(cls, declared: LockLike | InScope | None, *, default_name: str) -> Wanted | None:
        """Read what a task declares. None: no lock, or all of them are switched off.

        ``default_name`` names a mapping without a name; in a list each lock has to have its own. Raises
        ConfigurationError for what could never be taken.
        """
        if declared is None:
            return None
        if isinstance(declared, InScope):
            wanted = cls.of(declared.lock, default_name=default_name)
            return None if wanted is None else replace(wanted, scope=declared.scope)
        if isinstance(declared, str):
            return _one(declared)
        if not isinstance(declared, list | tuple):
            lock = Lock.of(declared, default_name=default_name)  # type: ignore[arg-type]
            return None if lock is None else cls((lock,), several=False)
        if not declared:
            raise ConfigurationError(f"lock={declared!r} is empty: name at least one lock, or leave lock= out")
        locks = tuple(lock for one in declared if (lock := Lock.of(one)) is not None)
        return cls(locks, several=True)._checked() if locks else None

    def _checked(self) -> Wanted:
        Request.of(self.asked)
        if len(places := {lock.lease_conn_id or config.lease_conn_id() for lock in self.locks}) > 1:
            raise ConfigurationError(
                f"the locks {self.label} lie in several databases ({', '.join(sorted(places))}): only locks of one "
                "lease_conn_id can be taken together"
            )
        if len(words := {lock.on_busy for lock in self.locks if lock.on_busy != "wait"}) > 1:
            raise ConfigurationError(
                f"the locks {self.label} say on_busy={' and '.join(sorted(map(repr, words)))}: they are taken "
                "together, so give them the same"
            )
        return self

    def named(self, names: str | Sequence[str]) -> Wanted:
        """The same locks under other names (rendered templates), in the same order."""
        given = [names] if isinstance(names, str) else list(names)
        renamed = tuple(lock.named(name) for lock, name in zip(self.locks, given, strict=True))
        wanted = replace(self, locks=renamed)
        if self.several:
            Request.of(wanted.asked)  # two templates may have come to the same name
        return wanted

    @property
    def asked(self) -> Lock | list[Lock]:
        """As the verbs of the engine take it."""
        return list(self.locks) if self.several else self.locks[0]

    @property
    def names(self) -> list[str]:
        return [lock.name for lock in self.locks]

    @property
    def label(self) -> str:
        """All names, for messages."""
        return ", ".join(repr(name) for name in self.names)

    @property
    def lock_name(self) -> str:
        """All names, as errors carry them."""
        return ", ".join(self.names)

    @property
    def noun(self) -> str:
        """``lock 'a'`` or ``locks 'a', 'b'``."""
        return f"{'lock' if len(self.locks) == 1 else 'locks'} {self.label}"

    # What belongs to the request as a whole is the strictest that its locks say.

    @property
    def on_busy(self) -> OnBusy:
        """What to do when one of them is taken."""
        return next((lock.on_busy for lock in self.locks if lock.on_busy != "wait"), "wait")

    @property
    def ttl(self) -> float | None:
        """Seconds."""
        return Request.of(self.asked).ttl

    @property
    def wait_timeout(self) -> float | None:
        """Seconds."""
        return Request.of(self.asked).wait_timeout

    @property
    def hold_at_least(self) -> float:
        """Seconds."""
        return Request.of(self.asked).hold_at_least

    @property
    def handover_ttl(self) -> float | None:
        """Seconds; the longest, as the worker has to come once for all of them."""
        said = [float(lock.handover_ttl) for lock in self.locks if lock.handover_ttl is not None]  # type: ignore[arg-type]
        return max(said) if said else None

    @property
    def standby(self) -> Mode | None:
        """None: as the settings say. One that says "never" speaks for all."""
        said = [lock.standby for lock in self.locks if lock.standby is not None]
        return min(said, key=("never", "auto", "always").index) if said else None

    @property
    def expected_hold(self) -> float | None:
        """Seconds; the longest."""
        said = [float(lock.expected_hold) for lock in self.locks if lock.expected_hold is not None]  # type: ignore[arg-type]
        return max(said) if said else None

    @property
    def lease_conn_id(self) -> str | None:
        return next((lock.lease_conn_id for lock in self.locks if lock.lease_conn_id), None)


@lru_cache(maxsize=1024)  # the same few names stand on thousands of tasks
def _one(name: str) -> Wanted:
    return Wanted((Lock(name),), several=False)
