"""What our triggers tell the worker, around the event of the wrapped operator's own trigger.

Lease state travels in the *event*, never in ``next_kwargs``: ``dag.test()`` and a failed trigger both drop those. It is
only a hint: the worker asks the database before it believes any of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

_KEY = "__lease__"

Phase = Literal["reserved", "standby", "gone", "timeout", "kept", "lost"]


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message from a trigger to the worker leg that it wakes."""

    phase: Phase
    """reserved: confirm it · standby: wait on the worker for the last moments · gone: the ticket is no more, start over
    · timeout: waited too long · kept: the inner trigger has fired, and the lease was renewed until then · lost: the
    work was stopped."""
    ticket: int | None = None
    tokens: Mapping[str, int] = field(default_factory=dict)
    """Lock name → fencing token, of what was kept or lost."""
    reason: str = ""
    method: str = "execute"
    """Where the wrapped operator goes on once the lock is ours."""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    event: Any = None
    """What the inner trigger said."""

    def payload(self) -> dict[str, Any]:
        """As the payload of a TriggerEvent."""
        return {_KEY: asdict(self)}

    @classmethod
    def read(cls, event: Any) -> Self | None:
        """The envelope of a payload; None if the event is not ours."""
        if not isinstance(event, Mapping) or not isinstance(content := event.get(_KEY), Mapping):
            return None
        return cls(**content)
