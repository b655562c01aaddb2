"""What the Glue catalog says about partitions, and whether data lies behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_lockprovider.readiness.s3_location import S3Location

BATCH = 100
"""How many BatchGetPartition is asked for at once; it may still leave some of them unprocessed."""
_TRIES = 3
"""So many answers without any progress are the last ones of a look."""
_PAGE = 100

Request = Callable[..., Any]
"""``request(client, operation, **arguments)``, as `Probe._request`."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One partition at one moment: fine, missing something that may still come (``lacks``), or wrong for good."""

    lacks: str = ""
    wrong: str = ""


class PartitionLook:
    """Asks for partitions of one table.

    ``location_prefix``: where they have to lie (``s3://bucket/path``). ``region``: where their bucket has to be.
    ``not_empty``: at least one data file has to lie there; with ``since``, one that was written then or later.
    """

    def __init__(
        self,
        request: Request,
        *,
        database: str,
        table: str,
        location_prefix: str | None = None,
        region: str | None = None,
        not_empty: bool = True,
        since: datetime | None = None,
    ) -> None:
        self._request = request
        self._table = {"DatabaseName": database, "TableName": table}
        self._prefix = S3Location.parse(location_prefix) if location_prefix else None
        self._region = region
        self._not_empty = not_empty
        self._since = since
        self._region_of: dict[str, str] = {}
        self.unanswered = 0
        """Of the last look: partitions that Glue has left unprocessed, each time it was asked."""

    def look(self, wanted: Sequence[Sequence[str]]) -> Iterator[Finding]:
        """A finding for each of the wanted values, in their order."""
        found, unanswered = self._fetch(wanted)
        self.unanswered = len(unanswered)
        for values in map(tuple, wanted):
            if values in found:
                yield self._judge(found[values])
            elif values in unanswered:
                yield Finding(lacks="was left unprocessed by Glue")
            else:
                yield Finding(lacks="is not in the catalog")

    def _fetch(self, wanted: Sequence[Sequence[str]]) -> tuple[dict[tuple[str, ...], Any], set[tuple[str, ...]]]:
        found: dict[tuple[str, ...], Any] = {}
        unanswered: set[tuple[str, ...]] = set()
        for first in range(0, len(wanted), BATCH):
            left = [{"Values": list(values)} for values in wanted[first : first + BATCH]]
            tries = _TRIES
            while left and tries:
                answer = self._request("glue", "batch_get_partition", **self._table, PartitionsToGet=left)
                found.update({tuple(one["Values"]): one for one in answer.get("Partitions", [])})
                rest = answer.get("UnprocessedKeys") or []
                tries = tries - 1 if len(rest) >= len(left) else _TRIES
                left = rest
            unanswered.update(tuple(one["Values"]) for one in left)
        return found, unanswered

    def _judge(self, partition: Mapping[str, Any]) -> Finding:
        written = (partition.get("StorageDescriptor") or {}).get("Location")
        if not written:
            return Finding(wrong="has no location in the catalog")
        location = S3Location.parse(written)
        if self._prefix and not location.is_under(self._prefix):
            return Finding(wrong=f"lies in {location}, not under {self._prefix}")
        if self._region and (region := self._bucket_region(location.bucket)) != self._region:
            return Finding(wrong=f"lies in {location}, whose bucket is in {region}, not in {self._region}")
        if not self._not_empty:
            return Finding()
        return self._data_behind(location)

    def _bucket_region(self, bucket: str) -> str:
        if bucket not in self._region_of:
            answer = self._request("s3", "head_bucket", Bucket=bucket)
            headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
            self._region_of[bucket] = str(answer.get("BucketRegion") or headers.get("x-amz-bucket-region", ""))
        return self._region_of[bucket]

    def _data_behind(self, location: S3Location) -> Finding:
        newest: datetime | None = None
        for one in self._files(location):
            if self._since is None or one["LastModified"] >= self._since:
                return Finding()
            newest = max(newest or one["LastModified"], one["LastModified"])
        if newest is None:
            return Finding(lacks=f"is empty ({location})")
        return Finding(lacks=f"has no file from {self._since} or later, the newest is from {newest} ({location})")

    def _files(self, location: S3Location) -> Iterator[Mapping[str, Any]]:
        """Data files: no folder markers, and nothing that Hive's readers skip (``_SUCCESS``, ``.crc``)."""
        more: dict[str, str] = {}
        while True:
            page = self._request(
                "s3", "list_objects_v2", Bucket=location.bucket, Prefix=location.folder, MaxKeys=_PAGE, **more
            )
            for one in page.get("Contents", []):
                name = one["Key"].rpartition("/")[2]
                if one["Size"] and not name.startswith(("_", ".")):
                    yield one
            if not page.get("NextContinuationToken"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}
