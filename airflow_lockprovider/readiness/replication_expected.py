"""What is expected in a window: what the source still holds of the frozen listing, or what a manifest says."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from itertools import pairwise
from threading import Lock
from typing import Literal, Protocol

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.bucket import Bucket
from airflow_lockprovider.readiness.identity import Identity
from airflow_lockprovider.readiness.manifest_entry import ManifestEntry
from airflow_lockprovider.readiness.replication_finding import Finding
from airflow_lockprovider.readiness.rows import Row, Rows
from airflow_lockprovider.readiness.window import Window

OnSourceChange = Literal["fail", "refreeze", "ignore"]


MAX_DROPPED_CHARS = 10_000
"""The keys that are waited for no more have to be remembered beside the manifest, in the task's state."""


class Expected(Protocol):
    """Where the rows of a window come from."""

    def rows(self, window: Window, finding: Finding) -> Rows:
        """The rows; what has changed since the freeze is noted in ``finding``, and taken over into ``window`` as
        the policy says."""

    def drop(self, row: Row) -> None:
        """This one is not expected any more."""


class FromListing:
    """The window is listed on the source again; newer objects are told from those of the freeze by their time."""

    def __init__(self, source: Bucket, policy: OnSourceChange) -> None:
        self.source = source
        self.policy = policy

    def rows(self, window: Window, finding: Finding) -> Rows:
        now = self.source.inside(window)
        if window.holds(now):
            return now
        kept = window.not_newer(now)
        if window.holds(kept):
            return kept  # others have been added: they are not part of the set
        changed = now.without(set(kept.keys)).keys
        changed = list(changed) or [f"something between {window.after!r} and {window.until!r}"]
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

    def __init__(self, read: Callable[[], Rows]) -> None:
        self._read = read
        self._rows: Rows | None = None
        self._reading = Lock()  # several windows may be looked at together, and want it together
        self.dropped: set[str] = set()

    def rows(self, window: Window, finding: Finding) -> Rows:
        rows = self.all().between(window.after, window.until)
        return rows.without(self.dropped) if self.dropped else rows

    def all(self) -> Rows:
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


def rows_of(entries: Iterable[ManifestEntry], identity: Identity) -> Rows:
    """A manifest's entries as rows, sorted by key; when they were written is not known. ConfigurationError if a key is
    named twice, or an entry lacks what is to be compared."""
    keys: list[str] = []
    sizes, marks = array("q"), []
    for entry in entries:
        keys.append(entry.key)
        sizes.append(entry.size)
        marks.append(_mark(entry, identity))
    rows = Rows(keys, sizes, marks, [0.0] * len(keys))
    if any(before > after for before, after in pairwise(keys)):
        rows = rows.pick(sorted(range(len(keys)), key=keys.__getitem__))
    if twice := next((before for before, after in pairwise(rows.keys) if before == after), None):
        raise ConfigurationError(f"the manifest names {twice!r} twice")
    return rows


def _mark(entry: ManifestEntry, identity: Identity) -> str:
    for wanted, name in ((identity.version_id, "version_id"), (identity.etag, "etag")):
        if wanted and not getattr(entry, name):
            raise ConfigurationError(
                f"identity compares {name}, and the manifest has none for {entry.key!r}: "
                "let the writer record it, or leave it out of identity"
            )
    if not identity.version_id and not identity.etag:
        return ""
    return identity.join(
        entry.version_id if identity.version_id else "", entry.etag.strip('"') if identity.etag else ""
    )
