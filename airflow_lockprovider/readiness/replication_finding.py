"""What one look at one window of a replication has found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from airflow_lockprovider.readiness.rows import Row, Rows

HEADS_PER_LIST = 12
"""One LIST costs as much as 12.5 HEADs, so up to 12 known missing keys are asked for one by one."""

NAMED = 5
"""Keys named in a verdict."""


@dataclass(slots=True)
class Gap:
    """What one window still misses. ``few`` is None when there are too many to remember."""

    count: int
    oldest: list[Row]
    few: Rows | None

    @classmethod
    def of(cls, missing: Rows) -> Gap | None:
        """From all that is missing; None if nothing is."""
        if not missing:
            return None
        return cls(len(missing), missing.oldest(NAMED), missing if len(missing) <= HEADS_PER_LIST else None)


@dataclass(slots=True)
class Finding:
    """Keys by what is wrong with them; ``gap`` is None when the window is complete.

    ``not_eligible``: no rule takes them, ``causes`` says why if it can be seen. ``lost``: COMPLETED, but absent.
    ``changed``: other on the source than when the set was frozen. ``dropped``: changed, and no longer waited for.
    ``extra``: only at the destination.
    """

    gap: Gap | None = None
    failed: list[str] = field(default_factory=list)
    not_eligible: list[str] = field(default_factory=list)
    causes: set[str] = field(default_factory=set)
    lost: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Nothing is missing, and nothing is there that must not be."""
        return self.gap is None and not self.extra

    @classmethod
    def joined(cls, findings: Iterable[Finding]) -> Finding:
        """All of them as one, without gaps."""
        whole = cls()
        for each in findings:
            whole.failed += each.failed
            whole.not_eligible += each.not_eligible
            whole.causes |= each.causes
            whole.lost += each.lost
            whole.changed += each.changed
            whole.dropped += each.dropped
            whole.extra += each.extra
        return whole


def named(keys: Sequence[str], total: int | None = None) -> str:
    """``"7 objects (out/a, … and 2 more)"``, with the first `NAMED` keys."""
    total = len(keys) if total is None else total
    more = f" and {total - NAMED:,} more" if total > NAMED else ""
    # A key may hold newlines; a log line should not.
    shown = ", ".join(key if key.isprintable() else repr(key) for key in keys[:NAMED])
    return f"{total:,} object{'s' if total != 1 else ''} ({shown}{more})"
