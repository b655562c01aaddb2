"""Reads a manifest entry by entry: ours, or one that Redshift reads (COPY) or writes (UNLOAD)."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.json_members import JsonMembers
from airflow_lockprovider.readiness.manifest_entry import ManifestEntry

FORMAT = "airflow_lockprovider.manifest"
VERSION = 1

_GZIP_MAGIC = b"\x1f\x8b"
_MAX_UNPACKED = 1 << 30
"""Bytes a packed manifest may unpack to: a million entries need about 200 MB, a zip bomb wants more."""
_CHUNK = 1 << 20
_NO_MANIFEST = 'not a manifest, which is a JSON object with a list "entries"'


class ManifestReader:
    """Iterate over it, once, for the entries, in the order in which they stand there. What is said about all of them
    is there at the end.

    ``pieces``: its bytes, packed with gzip or not, cut anywhere. Raises ConfigurationError, also for one that was cut
    short or counts other than it holds.
    """

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self._said: dict[str, Any] = {}
        self._buckets: set[str] = set()
        self._with_rows = self._rows = self._ours = 0
        self.objects = 0
        self.size = 0
        """The sum of their sizes, in bytes."""

    @property
    def rows(self) -> int | None:
        """The sum of their row counts; None if one is unknown, or there are no entries."""
        return self._rows if self.objects and self._with_rows == self.objects else None

    @property
    def about(self) -> dict[str, str]:
        """``bucket``, ``prefix``, ``run_id``, ``written_by``, ``written_at``, as in `Manifest`."""
        names = ("bucket", "prefix", "run_id", "written_by", "written_at")
        if "format" in self._said:
            return {name: self._said.get(name, "") for name in names}
        return dict.fromkeys(names, "") | {"bucket": next(iter(self._buckets), "")}

    def __iter__(self) -> Iterator[ManifestEntry]:
        members = JsonMembers(_unpacked(self._pieces), one_by_one="entries")
        try:
            for name, value in members:
                if name != "entries":
                    self._said[name] = value
                    if self._said.keys() >= {"format", "version"}:
                        self._check_format()  # before what another version may have among its entries
                    continue
                entry = self._entry(value)
                self.objects += 1
                self.size += entry.size
                if entry.rows is not None:
                    self._with_rows += 1
                    self._rows += entry.rows
                yield entry
        except ConfigurationError:
            raise
        except (ValueError, zlib.error) as error:
            raise ConfigurationError(f"{_NO_MANIFEST}: {error}") from error
        if "entries" not in members.names:
            raise ConfigurationError(_NO_MANIFEST)
        self._check()

    def _entry(self, item: Any) -> ManifestEntry:
        try:
            if "format" not in self._said and "url" in item:
                return self._of_redshift(item)
            self._ours += 1
            return ManifestEntry(
                item["key"], item["size"], item.get("version_id", ""), item.get("etag", ""), item.get("rows")
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ConfigurationError(f"a manifest entry is incomplete: {type(error).__name__} {error}") from error

    def _of_redshift(self, item: Mapping[str, Any]) -> ManifestEntry:
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
        self._buckets.add(bucket)
        return ManifestEntry(key, meta["content_length"], rows=meta.get("record_count"))

    def _check(self) -> None:
        """At the end: does what it says of itself agree with what it holds?"""
        if len(self._buckets) > 1:
            raise ConfigurationError(
                f"the manifest names several buckets ({', '.join(sorted(self._buckets))}); one is possible"
            )
        if "format" not in self._said:
            if self._ours:
                raise ConfigurationError("a manifest entry is incomplete: it has no url, and the manifest no format")
            return
        self._check_format()
        for name, held in (("objects", self.objects), ("bytes", self.size)):
            if self._said.get(name, held) != held:
                raise ConfigurationError(
                    f"the manifest says {self._said[name]:,} {name} and holds {held:,}: it was changed"
                )

    def _check_format(self) -> None:
        found, version = self._said["format"], self._said.get("version")
        if (found, version) != (FORMAT, VERSION):
            raise ConfigurationError(
                f"manifest of format {found!r} version {version!r}; this release reads {FORMAT!r} version {VERSION}"
            )


def _unpacked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    pieces = iter(pieces)
    first = next(pieces, b"")
    while 0 < len(first) < len(_GZIP_MAGIC) and (more := next(pieces, b"")):
        first += more
    if not first.startswith(_GZIP_MAGIC):
        yield from chain([first], pieces)
        return
    unpacker, size = zlib.decompressobj(wbits=31), 0
    for piece in chain([first], pieces):
        packed = piece
        while packed and not unpacker.eof:
            text = unpacker.decompress(packed, _CHUNK)
            packed = unpacker.unconsumed_tail
            size += len(text)
            if size > _MAX_UNPACKED:
                raise ValueError("the gzip data unpacks to more than 1 GB")
            yield text
    yield unpacker.flush()
    if not unpacker.eof:
        raise ValueError("the gzip data ends too early")
