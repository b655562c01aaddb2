"""What people have been told of which trouble: kept beside the locks, so that all processes know it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_lockprovider.lease.store import Store

PAUSES = (60.0, 300.0, 1800.0, 7200.0, 21600.0)
"""Seconds between two messages of one trouble: after the first, the second …; the last one for all that follow."""


@dataclass(frozen=True, slots=True)
class Episode:
    """A trouble from its first failure until it works again."""

    key: str
    title: str
    occurrences: int
    """How often it failed since then, this time included."""
    first_seen: datetime
    told: int
    """Messages that had gone out before."""
    known: int
    """Occurrences that the newest of these messages told of."""
    told_at: datetime | None = None
    """When that was."""

    @property
    def unknown(self) -> int:
        """Occurrences that people have not been told of."""
        return self.occurrences - self.known


class AlertLedger:
    """Counts failures and says which of them are worth a message. Over the store of a `LeaseEngine`.

    ``at`` is the moment of the call; None: now, by the database's clock. Raises what every verb of the engine raises.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def seen(
        self,
        key: str,
        title: str,
        *,
        part: str = "",
        occurrence: str | None = None,
        pauses: Sequence[float] = PAUSES,
        at: datetime | None = None,
    ) -> tuple[bool, Episode]:
        """Count one failure; True: people must be told now, by the caller.

        ``occurrence`` names the single failure, so that one which is reported twice counts once (None: every call
        counts). ``part`` is what of it must work again before all of it does, such as a map index.
        """
        (row,) = self._store.call(
            "alert_seen", alert_key=key, title=title, part=part, occurrence=occurrence, pauses=list(pauses), at=at
        )
        return bool(row["should_tell"]), _episode(row, key=key, title=title)

    def quiet(self, key: str, *, at: datetime | None = None) -> Episode | None:
        """Whether people know of this trouble, and are not to hear of it again yet. Only looks, so nobody waits."""
        rows = self._store.call("alert_quiet", alert_key=key, at=at)
        return _episode(rows[0]) if rows else None

    def over(self, keys: Sequence[str], *, part: str | None = "", at: datetime | None = None) -> list[Episode]:
        """This part of these troubles works again (None: all of them). Answers what people must be told is over."""
        return [_episode(row) for row in self._store.call("alert_over", alert_keys=list(keys), part=part, at=at)]

    def untold(self, episode: Episode, *, recovered: bool = False, at: datetime | None = None) -> None:
        """The message of this answer has reached nobody: the next occasion tries again."""
        self._store.call(
            "alert_untold",
            alert_key=episode.key,
            recovered=recovered,
            told_occurrences=episode.known,
            told_at=episode.told_at,
            at=at,
        )

    def due(self, prefix: str = "", *, pauses: Sequence[float] = PAUSES, at: datetime | None = None) -> list[Episode]:
        """Troubles that have grown since their last message, and whose pause is over. The caller must tell of them."""
        rows = self._store.call("alerts_due", prefix=prefix, pauses=list(pauses), at=at)
        return [_episode(row) for row in rows]

    def open(self, prefix: str = "") -> list[str]:
        """Keys of the troubles that are not over."""
        return [row["alert_key"] for row in self._store.call("alerts_open", prefix=prefix)]


def _episode(row: dict[str, Any], *, key: str | None = None, title: str | None = None) -> Episode:
    return Episode(
        key=key or row["alert_key"],
        title=title or row["title"],
        occurrences=int(row["occurrences"]),
        first_seen=row["first_seen"],
        told=int(row["told"]),
        known=int(row["told_occurrences"]),
        told_at=row.get("told_at"),
    )
