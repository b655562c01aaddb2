"""A writer's list of what it wrote: the best answer to "what exactly are we waiting for?"."""

from __future__ import annotations

import gzip as gzip_format
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.manifest_entry import ManifestEntry
from airflow_lockprovider.readiness.manifest_reader import FORMAT, VERSION, ManifestReader


@dataclass(frozen=True, slots=True)
class Manifest:
    """What one run wrote to ``bucket``, sorted by key as S3 sorts: by UTF-8 bytes.

    ``written_at`` is ISO text in UTC; ``written_by`` says who, for people. Raises ConfigurationError for a key
    that is named twice.
    """

    entries: Sequence[ManifestEntry]
    bucket: str
    prefix: str = ""
    run_id: str = ""
    written_by: str = ""
    written_at: str = ""

    def __post_init__(self) -> None:
        # Code points sort as their UTF-8 bytes do.
        entries = sorted(self.entries, key=lambda entry: entry.key)
        for before, after in pairwise(entries):
            if before.key == after.key:
                raise ConfigurationError(f"the manifest names {after.key!r} twice")
        object.__setattr__(self, "entries", tuple(entries))

    @property
    def objects(self) -> int:
        """How many objects."""
        return len(self.entries)

    @property
    def size(self) -> int:
        """The sum of their sizes, in bytes."""
        return sum(entry.size for entry in self.entries)

    @property
    def rows(self) -> int | None:
        """The sum of their row counts; None if one is unknown, or nothing was written."""
        counts = [entry.rows for entry in self.entries if entry.rows is not None]
        return sum(counts) if counts and len(counts) == len(self.entries) else None

    def to_bytes(self, *, gzip: bool = False) -> bytes:
        """The manifest as JSON, packed if asked for. The same manifest gives the same bytes."""
        document = {
            "format": FORMAT,
            "version": VERSION,
            "bucket": self.bucket,
            "prefix": self.prefix,
            "run_id": self.run_id,
            "written_by": self.written_by,
            "written_at": self.written_at,
            "objects": self.objects,
            "bytes": self.size,
            "rows": self.rows,
            "entries": [_entry_as_dict(entry) for entry in self.entries],
        }
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        return gzip_format.compress(text, mtime=0) if gzip else text

    def copy_manifest_bytes(self, *, mandatory: bool = True) -> bytes:
        """A manifest for ``COPY … MANIFEST`` of Redshift. ``mandatory``: COPY fails when a file is absent."""
        entries = [
            {
                "url": f"s3://{self.bucket}/{entry.key}",
                "mandatory": mandatory,
                "meta": {"content_length": entry.size},
            }
            for entry in self.entries
        ]
        return json.dumps({"entries": entries}, ensure_ascii=False, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Manifest:
        """Read a manifest, packed or not: ours, or one that Redshift reads (COPY) or writes (UNLOAD).

        Raises ConfigurationError, also for one that was cut short or counts other than it holds.
        """
        reader = ManifestReader([content])
        entries = list(reader)
        return cls(entries, **reader.about)


def _entry_as_dict(entry: ManifestEntry) -> dict[str, Any]:
    optional = {"version_id": entry.version_id or None, "etag": entry.etag or None, "rows": entry.rows}
    return {"key": entry.key, "size": entry.size} | {
        name: value for name, value in optional.items() if value is not None
    }
