"""How a replication advances: counts, ages, standstills."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_lockprovider.readiness.replication_finding import NAMED, Gap
from airflow_lockprovider.readiness.verdict import Status, Verdict, in_words
from airflow_lockprovider.readiness.window import Window


class Progress:
    """Turns windows and gaps into verdicts. All times are the server's, in epoch seconds.

    ``stall_after``: seconds without an arrival that are a standstill. ``size``: bytes of the set, None if unknown.
    """

    def __init__(self, stall_after: float | None) -> None:
        self.stall_after = stall_after
        self.size: int | None = None
        self.notes: tuple[str, ...] = ()
        self._best = -1
        self._moved_at = 0.0
        self._told = self._noted = False

    def begin(self, now: float, size: int) -> None:
        """The set was frozen now."""
        self._moved_at, self.size = now, size

    def verdict(
        self,
        status: Status,
        reason: str,
        sample: Sequence[str],
        *,
        windows: Sequence[Window],
        gaps: Mapping[str, Gap],
        now: float,
        facts: Mapping[str, Any],
    ) -> Verdict:
        """What there is to say. ``sample``: keys to be named before those that are just missing."""
        expected = sum(window.count for window in windows)
        arrived = expected - sum(
            gap.count if (gap := gaps.get(window.until)) else window.count for window in windows if not window.arrived
        )
        stalled = status is Status.WAIT and self._stands_still(arrived, now)
        newly_stalled, self._told = stalled and not self._told, stalled
        oldest = sorted((row for gap in gaps.values() for row in gap.oldest), key=lambda row: (row.modified, row.key))
        if stalled and not reason:
            reason = f"nothing has arrived for {in_words(now - self._moved_at)}"
            if oldest:
                reason += f"; the oldest missing is {oldest[0].key}"
        # For whoever begins and for whoever gets the result; not again at every look between.
        notes = () if self._noted and status is Status.WAIT else self.notes
        self._noted = True
        newest = max((window.newest for window in windows), default=0) / 1000
        since = oldest[0].modified if oldest else 0.0
        return Verdict(
            status,
            expected=expected,
            arrived=arrived,
            missing_sample=tuple(sample[:NAMED]) or tuple(row.key for row in oldest[:NAMED]),
            oldest_pending=max(0.0, now - since) if since else None,
            reason=reason,
            stalled=stalled,
            newly_stalled=newly_stalled,
            lag=max(0.0, now - newest) if status is Status.READY and newest else None,
            notes=notes,
            facts={**facts, **({} if self.size is None else {"bytes": self.size})},
        )

    def _stands_still(self, arrived: int, now: float) -> bool:
        if arrived > self._best:
            self._best, self._moved_at = arrived, now
        return self.stall_after is not None and now - self._moved_at >= self.stall_after

    def memory(self) -> dict[str, Any]:
        """For `remember`, in JSON's own types."""
        return {
            "best": self._best,
            "moved_at": self._moved_at,
            "told": self._told,
            "noted": self._noted,
            "size": self.size,
            "notes": list(self.notes),
        }

    def remember(self, memory: Mapping[str, Any]) -> None:
        """Go on where `memory` was taken."""
        self._best, self._moved_at, self._told = memory["best"], memory["moved_at"], memory["told"]
        self._noted, self.size, self.notes = memory["noted"], memory["size"], tuple(memory["notes"])
