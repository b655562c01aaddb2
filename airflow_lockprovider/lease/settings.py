"""How leases live, in seconds, with the rules that the numbers must keep."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from airflow_lockprovider.lease.errors import ConfigurationError

_YEAR = 366 * 86400.0
_DURATIONS = ("ttl", "handover_ttl", "skip_after", "prune_after", "poll_interval", "renew_every", "standby_limit")


@dataclass(frozen=True, slots=True)
class LeaseSettings:
    """Defaults of one engine; a `Lock` may override ttl and handover_ttl. All durations in seconds."""

    ttl: float = 120.0
    """How long a lease lives without renewal. It outlives the ~60 s of a triggerer restart."""
    renew_every: float | None = None
    """Time between renewals; None: a quarter of each lease's ttl."""
    handover_ttl: float = 60.0
    """How long a reservation waits for its worker."""
    skip_after: float = 10.0
    """A waiter that nobody has looked after for this long is passed over."""
    prune_after: float = 86_400.0
    """…and for this long, loses its ticket."""
    poll_interval: float = 1.0
    """How often waiters look, beneath notifications."""
    listen: bool = True
    """Let the database wake waiters up (LISTEN). False behind a pooler in transaction mode: polling alone."""
    standby: Literal["auto", "always", "never"] = "auto"
    """Whether the next in line wait on a worker for the last moments, so that the lock is handed over at once."""
    standby_limit: float = 15.0
    """How long a waiter that was called up to a worker stays there, before it leaves again."""
    safety_margin: float = 0.1
    """Share of the ttl before its end at which the keeper gives up: the work must stop before others may start."""

    def __post_init__(self) -> None:
        for name in _DURATIONS:
            value = getattr(self, name)
            if value is None and name == "renew_every":
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _YEAR:
                raise ConfigurationError(f"{name}={value!r} must be above zero seconds and below a year")
        if self.listen not in (True, False):
            raise ConfigurationError(f"listen={self.listen!r} must be True or False")
        if self.standby not in ("auto", "always", "never"):
            raise ConfigurationError(f"standby={self.standby!r}: use 'auto', 'always' or 'never'")
        if not isinstance(self.safety_margin, int | float) or not 0 < self.safety_margin < 0.5:
            raise ConfigurationError(
                f"safety_margin={self.safety_margin!r} must be between 0 and 0.5 (a share of the ttl)"
            )
        if self.poll_interval >= self.skip_after:
            raise ConfigurationError(
                f"poll_interval={self.poll_interval:g} must be below skip_after={self.skip_after:g}: "
                "a waiter that looks more rarely would be passed over as dead"
            )
        if self.skip_after > self.prune_after:
            raise ConfigurationError(f"skip_after={self.skip_after:g} must not exceed prune_after={self.prune_after:g}")
        self.renewal_period(self.ttl)

    def renewal_period(self, ttl: float) -> float:
        """Seconds between renewals of a lease with this ttl.

        Keeps client-go's rule: retry period < give-up deadline < ttl (tools/leaderelection: 1.2 × RetryPeriod <
        RenewDeadline < LeaseDuration). Raises ConfigurationError when ``renew_every`` breaks it.
        """
        period = ttl / 4 if self.renew_every is None else self.renew_every
        if period * 1.2 >= self.give_up_after(ttl):
            raise ConfigurationError(
                f"ttl={ttl:g} must be well above the renewal period of {period:g} s "
                f"(1.2 × {period:g} < {self.give_up_after(ttl):g}): raise the ttl or lower renew_every"
            )
        return period

    def give_up_after(self, ttl: float) -> float:
        """Seconds without a successful renewal after which the owner must stop its work."""
        return ttl * (1 - self.safety_margin)


_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,55}")  # a name has 63 bytes, and the roles add "_reader"


def check_schema(schema: str) -> str:
    """Return ``schema`` if it is a plain lower-case SQL name, else raise ConfigurationError."""
    if not _SCHEMA.fullmatch(schema):
        raise ConfigurationError(
            f"schema={schema!r} must be a plain lower-case name of at most 56 characters, such as 'lockprovider'"
        )
    return schema
