"""What a probe found out: ready, not yet, or never."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """READY and WAIT explain themselves; FAILED: waiting cannot help; MISCONFIGURED: nor can a retry."""

    READY = "READY"
    WAIT = "WAIT"
    FAILED = "FAILED"
    MISCONFIGURED = "MISCONFIGURED"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One look at the data. ``str(verdict)`` is the line for the task log.

    ``expected`` and ``arrived`` count objects (both 0 where nothing is counted, as for a crawl);
    ``missing_sample`` names a few that are missing, the oldest first; ``oldest_pending`` is the age of the oldest
    of them in seconds, by the server's clock; ``requests`` counts API requests since the probe began;
    ``stalled`` says that nothing has moved for longer than the probe was told to accept; ``lag`` is, once ready,
    how long the newest of the data took: seconds, by the server's clock; None where that has no meaning;
    ``newly_stalled`` is true once per standstill, for somebody who warns; ``notes`` are warnings that hold for the
    whole wait, given with the first and with the last verdict; ``errors`` counts the errors of the network or of AWS
    that were waited out; ``facts`` has more to hand on, in JSON's own types (bytes, the manifest).
    """

    status: Status
    expected: int = 0
    arrived: int = 0
    missing_sample: tuple[str, ...] = ()
    oldest_pending: float | None = None
    reason: str = ""
    requests: int = 0
    stalled: bool = False
    lag: float | None = None
    newly_stalled: bool = False
    notes: tuple[str, ...] = ()
    errors: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def pending(self) -> int:
        """Objects still missing."""
        return self.expected - self.arrived

    def __str__(self) -> str:
        parts = []
        if self.expected:
            parts.append(f"{self.arrived:,}/{self.expected:,} arrived")
            if self.pending:
                parts.append(f"{self.pending:,} pending")
        if self.oldest_pending is not None:
            parts.append(f"oldest {in_words(self.oldest_pending)}")
        line = ", ".join(parts)
        return f"{line}: {self.reason}" if line and self.reason else line or self.reason or self.status.value

    def as_dict(self) -> dict[str, Any]:
        """The verdict in JSON's own types, for XCom and trigger events."""
        return asdict(self) | {
            "status": self.status.value,
            "missing_sample": list(self.missing_sample),
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Verdict:
        """The inverse of `as_dict`."""
        sequences = {name: tuple(data[name]) for name in ("missing_sample", "notes") if name in data}
        return cls(**{**data, "status": Status(data["status"]), **sequences})


def in_words(seconds: float) -> str:
    """A duration as people say it: "45 s", "4 min", "2 h 05 min"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
