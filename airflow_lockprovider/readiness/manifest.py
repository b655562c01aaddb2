"""A writer's list of what it wrote: the best answer to "what exactly are we waiting for?"."""

from __future__ import annotations

import gzip as gzip_format
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from airflow_lockprovider.lease.errors import ConfigurationError

FORMAT = "airflow_lockprovider.manifest"
VERSION = 1

_GZIP_MAGIC = b"\x1f\x8b"
_MAX_UNPACKED = 1 << 30
"""Bytes a packed manifest may unpack to: a million entries need about 200 MB, a zip bomb wants more."""


@dataclass(frozen=True, slots=True, order=True)
class ManifestEntry:
    """One object. ``size`` in bytes; ``version_id`` and ``etag`` are empty and ``rows`` is None if not known."""

    key: str
    size: int
    version_id: str = ""
    etag: str = ""
    rows: int | None = None

    def __post_init__(self) -> None:
        if not self.key or not isinstance(self.key, str):
            raise ConfigurationError(f"a manifest entry needs a key, not {self.key!r}")
        if not isinstance(self.size, int) or isinstance(self.size, bool) or self.size < 0:
            raise ConfigurationError(f"manifest entry {self.key!r}: size={self.size!r} must be bytes, 0 or more")


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
        try:
            document = json.loads(_unpacked(content))
        except (ValueError, zlib.error) as error:
            raise ConfigurationError(f"not a manifest: {error}") from error
        if not isinstance(document, dict) or not isinstance(document.get("entries"), list):
            raise ConfigurationError('not a manifest: it must be a JSON object with a list "entries"')
        try:
            return _from_redshift(document) if "format" not in document else _from_ours(document)
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigurationError(f"a manifest entry is incomplete: {type(error).__name__} {error}") from error


def _unpacked(content: bytes) -> bytes:
    if not content.startswith(_GZIP_MAGIC):
        return content
    unpacker = zlib.decompressobj(wbits=31)
    text = unpacker.decompress(content, _MAX_UNPACKED)
    if not unpacker.eof:
        raise ValueError("the gzip data ends too early, or unpacks to more than 1 GB")
    return text


def _entry_as_dict(entry: ManifestEntry) -> dict[str, Any]:
    optional = {"version_id": entry.version_id or None, "etag": entry.etag or None, "rows": entry.rows}
    return {"key": entry.key, "size": entry.size} | {
        name: value for name, value in optional.items() if value is not None
    }


def _from_ours(document: Mapping[str, Any]) -> Manifest:
    if (document["format"], document.get("version")) != (FORMAT, VERSION):
        raise ConfigurationError(
            f"manifest of format {document['format']!r} version {document.get('version')!r}; "
            f"this release reads {FORMAT!r} version {VERSION}"
        )
    manifest = Manifest(
        [
            ManifestEntry(item["key"], item["size"], item.get("version_id", ""), item.get("etag", ""), item.get("rows"))
            for item in document["entries"]
        ],
        **{name: document.get(name, "") for name in ("bucket", "prefix", "run_id", "written_by", "written_at")},
    )
    for name, held in (("objects", manifest.objects), ("bytes", manifest.size)):
        if document.get(name, held) != held:
            raise ConfigurationError(f"the manifest says {document[name]:,} {name} and holds {held:,}: it was changed")
    return manifest


def _from_redshift(document: Mapping[str, Any]) -> Manifest:
    entries, buckets = [], set()
    for item in document["entries"]:
        scheme, _, place = item["url"].partition("://")
        bucket, _, key = place.partition("/")
        if scheme != "s3" or not key:
            raise ConfigurationError(f"manifest url {item['url']!r} is not s3://bucket/key")
        meta = item.get("meta") or {}
        if "content_length" not in meta:
            raise ConfigurationError(
                f"manifest entry {item['url']!r} has no meta.content_length: without sizes nobody can tell an old "
                "copy from the new one (UNLOAD writes them with MANIFEST VERBOSE)"
            )
        entries.append(ManifestEntry(key, meta["content_length"], rows=meta.get("record_count")))
        buckets.add(bucket)
    if len(buckets) > 1:
        raise ConfigurationError(f"the manifest names several buckets ({', '.join(sorted(buckets))}); one is possible")
    return Manifest(entries, bucket=next(iter(buckets), ""))
