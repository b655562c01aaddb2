"""What is expected in a window: what the source still holds of the frozen listing, or what a manifest says."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Literal, Protocol

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.bucket import Bucket
from airflow_lockprovider.readiness.identity import Identity
from airflow_lockprovider.readiness.manifest import Manifest
from airflow_lockprovider.readiness.replication_finding import Finding
from airflow_lockprovider.readiness.window import Row, Window

OnSourceChange = Literal["fail", "refreeze", "ignore"]


MAX_DROPPED_CHARS = 10_000
"""The keys that are waited for no more have to be remembered beside the manifest, in the task's state."""


class Expected(Protocol):
    """Where the rows of a window come from."""

    def rows(self, window: Window, finding: Finding) -> list[Row]:
        """The rows; what has changed since the freeze is noted in ``finding``, and taken over into ``window`` as
        the policy says."""

    def drop(self, row: Row) -> None:
        """This one is not expected any more."""


class FromListing:
    """The window is listed on the source again; newer objects are told from those of the freeze by their time."""

    def __init__(self, source: Bucket, policy: OnSourceChange) -> None:
        self.source = source
        self.policy = policy

    def rows(self, window: Window, finding: Finding) -> list[Row]:
        now = self.source.inside(window)
        if window.holds(now):
            return now
        kept = window.not_newer(now)
        if window.holds(kept):
            return kept  # others have been added: they are not part of the set
        old = {row.key for row in kept}
        changed = [row.key for row in now if row.key not in old]
        changed = changed or [f"something between {window.after!r} and {window.until!r}"]
        if self.policy == "ignore":
            finding.dropped += changed
            window.take(kept)
            return kept
        finding.changed += changed
        if self.policy == "refreeze":
            window.take(now)
        return now

    def drop(self, row: Row) -> None:
        """The next listing will not hold it either."""


class FromManifest:
    """The manifest is read once per process, when it is needed. ``read`` gives its content."""

    def __init__(self, read: Callable[[], Sequence[Row]]) -> None:
        self._read = read
        self._rows: Sequence[Row] | None = None
        self._reading = Lock()  # several windows may be looked at together, and want it together
        self.dropped: set[str] = set()

    def rows(self, window: Window, finding: Finding) -> list[Row]:
        rows = self.all()
        first = bisect_right(rows, window.after, key=_key)
        last = bisect_right(rows, window.until, key=_key)
        return [row for row in rows[first:last] if row.key not in self.dropped]

    def all(self) -> Sequence[Row]:
        """Every row, sorted by key."""
        with self._reading:
            if self._rows is None:
                self._rows = self._read()
            return self._rows

    def drop(self, row: Row) -> None:
        self.dropped.add(row.key)

    @property
    def too_many_dropped(self) -> bool:
        """More than can be remembered."""
        return sum(map(len, self.dropped)) > MAX_DROPPED_CHARS


def rows_of(manifest: Manifest, identity: Identity, *, written_at: float) -> list[Row]:
    """The manifest's entries as rows. ConfigurationError if it lacks what is to be compared."""
    for wanted, name in ((identity.version_id, "version_id"), (identity.etag, "etag")):
        if wanted and (without := next((entry for entry in manifest.entries if not getattr(entry, name)), None)):
            raise ConfigurationError(
                f"identity compares {name}, and the manifest has none for {without.key!r}: "
                "let the writer record it, or leave it out of identity"
            )
    return [
        Row(entry.key, entry.size, identity.join(*_compared(entry.version_id, entry.etag, identity)), written_at)
        for entry in manifest.entries
    ]


def _compared(version_id: str, etag: str, identity: Identity) -> tuple[str, str]:
    return version_id if identity.version_id else "", etag.strip('"') if identity.etag else ""


def _key(row: Row) -> str:
    return row.key
