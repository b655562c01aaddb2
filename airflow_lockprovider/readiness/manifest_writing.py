"""Write down what was written, as the last act of a writer: ``write_manifest()``.

Needs neither Airflow nor this package's other parts, so a Spark or Glue step can import it; it hands in its own S3
client.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, Literal

from airflow_lockprovider.lease.errors import ConfigurationError, LockProviderError
from airflow_lockprovider.readiness.client_error import code_of, http_status_of
from airflow_lockprovider.readiness.manifest import Manifest
from airflow_lockprovider.readiness.manifest_entry import ManifestEntry

Replace = Literal["never", "same_run"]

_COLLISIONS = 5
"""So many times in a row S3 may say that another write of the same key is under way."""


class ManifestConflict(LockProviderError):
    """There is another manifest under this key already; ``existing`` says what it names and who wrote it."""

    def __init__(self, message: str, existing: Manifest | None) -> None:
        super().__init__(message)
        self.existing = existing


@dataclass(frozen=True, slots=True)
class WrittenManifest:
    """What was written, and where. ``size`` is the sum of the objects' bytes, ``was_there``: the same manifest was
    written before and has been left alone."""

    uri: str
    objects: int
    size: int
    rows: int | None
    run_id: str
    was_there: bool

    def as_dict(self) -> dict[str, Any]:
        """In JSON's own types."""
        return asdict(self)


def write_manifest(
    s3: Any,
    bucket: str,
    key: str,
    *,
    prefix: str = "",
    pattern: str = "*",
    objects: Iterable[ManifestEntry] | None = None,
    rows: Mapping[str, int] | None = None,
    version_ids: bool = True,
    run_id: str = "",
    written_by: str = "",
    copy_manifest_key: str = "",
    min_objects: int = 1,
    replace: Replace = "never",
) -> WrittenManifest:
    """List what lies under ``prefix`` now and put it into ``bucket`` as the manifest ``key``. Call it when all is
    written: what comes later is not waited for.

    ``s3`` is a boto3 client for the bucket. The manifest is written only if there is none (a conditional PUT), so
    of two writers one gets `ManifestConflict`, which says who was first. The same content is no conflict: a repeated
    call answers like the first one. ``replace="same_run"`` lets a manifest of the same ``run_id`` be replaced, for
    runs that are cleared and write anew; anybody's write in between is still noticed.

    ``key`` ending in ``.gz`` is packed. ``pattern`` is matched against the key's last part (``"*.parquet"``).
    ``objects``: exactly these, nothing is listed; the writer vouches for them. ``rows``: row counts by key.
    ``version_ids=False`` lists without versions (needs s3:ListBucket instead of s3:ListBucketVersions); copies are then
    told apart by size alone. ``copy_manifest_key``: also a manifest for Redshift's ``COPY … MANIFEST``, written first.

    Raises ConfigurationError for fewer than ``min_objects``, and whatever the client raises.
    """
    if not key or not bucket:
        raise ConfigurationError(f"bucket={bucket!r}, key={key!r}: a manifest needs both")
    if replace not in ("never", "same_run"):
        raise ConfigurationError(f"replace={replace!r} must be 'never' or 'same_run'")
    if replace == "same_run" and not run_id:
        raise ConfigurationError("replace='same_run' needs a run_id, to tell this run from others")
    ours = {key, copy_manifest_key}
    if objects is None:
        listed = _versions(s3, bucket, prefix) if version_ids else _newest(s3, bucket, prefix)
        objects = (
            entry
            for entry in listed
            if entry.key not in ours
            and not entry.key.endswith("/")
            and fnmatchcase(entry.key.rpartition("/")[2], pattern)
        )
    manifest = Manifest(
        _with_rows(list(objects), rows or {}),
        bucket=bucket,
        prefix=prefix,
        run_id=run_id,
        written_by=written_by,
        written_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    if manifest.objects < min_objects:
        raise ConfigurationError(
            f"s3://{bucket}/{prefix} holds {manifest.objects:,} objects like {pattern!r}, at least {min_objects:,} "
            "were expected: no manifest was written"
        )
    if copy_manifest_key:
        _put(s3, manifest, copy_manifest_key, replace, manifest.copy_manifest_bytes())
    was_there = _put(s3, manifest, key, replace, manifest.to_bytes(gzip=key.endswith(".gz")))
    return WrittenManifest(f"s3://{bucket}/{key}", manifest.objects, manifest.size, manifest.rows, run_id, was_there)


def _put(s3: Any, manifest: Manifest, key: str, replace: Replace, content: bytes) -> bool:
    """Write it if nobody else did; True if the same was there."""
    condition = {"IfNoneMatch": "*"}
    place = f"s3://{manifest.bucket}/{key}"
    for _ in range(_COLLISIONS):
        try:
            s3.put_object(Bucket=manifest.bucket, Key=key, Body=content, ContentType="application/json",
                          Metadata={"run-id": _ascii(manifest.run_id), "written-by": _ascii(manifest.written_by)},
                          **condition)  # fmt: skip
            return False
        except Exception as error:
            if http_status_of(error) == 409:  # another conditional write of this key is under way
                time.sleep(0.2)
                continue
            if http_status_of(error) != 412 and code_of(error) != "PreconditionFailed":
                raise
        found = _existing(s3, manifest.bucket, key)
        if found is None:
            condition = {"IfNoneMatch": "*"}  # deleted in between
            continue
        if found.says_the_same_as(manifest):
            return True
        if replace != "same_run" or found.run_id not in (manifest.run_id, _ascii(manifest.run_id)):
            raise ManifestConflict(found.conflict_with(manifest, place), found.manifest)
        condition = {"IfMatch": found.etag}
    raise LockProviderError(f"{place} is written by others again and again; who else writes this manifest?")


@dataclass(frozen=True, slots=True)
class _Existing:
    """What lies under the manifest's key."""

    manifest: Manifest | None
    """None: no manifest."""
    run_id: str
    written_by: str
    written_at: datetime
    etag: str

    def says_the_same_as(self, ours: Manifest) -> bool:
        """Whether both name the same objects. A COPY manifest knows neither versions nor a prefix."""
        if self.manifest is None or self.manifest.bucket != ours.bucket:
            return False
        entries = ours.entries
        if not self.manifest.written_at:
            entries = tuple(ManifestEntry(entry.key, entry.size) for entry in entries)
        return tuple(self.manifest.entries) == tuple(entries)

    def conflict_with(self, ours: Manifest, place: str) -> str:
        by = self.written_by or "somebody who left no name"
        who = f"{place} was written by {by}" + (f" in run {self.run_id}" if self.run_id else "")
        who += f" at {self.written_at:%Y-%m-%d %H:%M:%S} UTC"
        if self.manifest is None:
            return f"{who}, and is no manifest; choose another key, or delete it"
        theirs, mine = set(self.manifest.entries), set(ours.entries)
        differing = sorted(theirs ^ mine)
        if self.manifest.bucket != ours.bucket:
            differs = f"it is about the bucket {self.manifest.bucket!r}"
        else:
            counts = f"it names {len(theirs):,} objects, this run {len(mine):,}"
            differs = f"{counts}; the first that differs is {differing[0].key}"
        return (
            f"{who}, and {differs}. Put the run's id into the key, or pass replace='same_run' if a cleared run may "
            "replace its own manifest, or delete it"
        )


def _existing(s3: Any, bucket: str, key: str) -> _Existing | None:
    try:
        answer = s3.get_object(Bucket=bucket, Key=key)
    except Exception as error:
        if http_status_of(error) == 404:
            return None
        raise
    try:
        manifest = Manifest.from_bytes(answer["Body"].read())
    except ConfigurationError:
        manifest = None
    metadata = answer.get("Metadata", {})
    return _Existing(
        manifest,
        run_id=manifest.run_id if manifest and manifest.run_id else metadata.get("run-id", ""),
        written_by=manifest.written_by if manifest and manifest.written_by else metadata.get("written-by", ""),
        written_at=answer["LastModified"],
        etag=answer["ETag"],
    )


def _with_rows(entries: list[ManifestEntry], rows: Mapping[str, int]) -> list[ManifestEntry]:
    if unknown := sorted(rows.keys() - {entry.key for entry in entries}):
        raise ConfigurationError(f"rows names {unknown[0]!r}, which is not among the {len(entries):,} objects written")
    return [replace(entry, rows=rows[entry.key]) if entry.key in rows else entry for entry in entries]


def _versions(s3: Any, bucket: str, prefix: str) -> Iterator[ManifestEntry]:
    for page in _pages(s3.list_object_versions, Bucket=bucket, Prefix=prefix):
        for found in page.get("Versions", []):
            if found["IsLatest"]:
                # Without versioning S3 says "null", which names no version.
                version_id = "" if found["VersionId"] == "null" else found["VersionId"]
                yield ManifestEntry(found["Key"], found["Size"], version_id, found["ETag"].strip('"'))


def _newest(s3: Any, bucket: str, prefix: str) -> Iterator[ManifestEntry]:
    for page in _pages(s3.list_objects_v2, Bucket=bucket, Prefix=prefix):
        for found in page.get("Contents", []):
            yield ManifestEntry(found["Key"], found["Size"], etag=found["ETag"].strip('"'))


def _pages(listing: Callable[..., Any], **arguments: Any) -> Iterator[Any]:
    page = listing(**arguments)
    yield page
    while page.get("IsTruncated"):
        where = {
            ours: page[theirs]
            for ours, theirs in (
                ("ContinuationToken", "NextContinuationToken"),
                ("KeyMarker", "NextKeyMarker"),
                ("VersionIdMarker", "NextVersionIdMarker"),
            )
            if page.get(theirs)
        }
        page = listing(**arguments, **where)
        yield page


def _ascii(text: str) -> str:
    # Metadata travels as HTTP headers.
    return text.encode("ascii", "backslashreplace").decode()
