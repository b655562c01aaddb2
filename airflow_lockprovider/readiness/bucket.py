"""One bucket of a replication, as a probe sees it: pages of rows, key ranges, single objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_lockprovider.readiness.client_error import http_status_of
from airflow_lockprovider.readiness.identity import Identity
from airflow_lockprovider.readiness.server_time import server_time
from airflow_lockprovider.readiness.window import WINDOW_KEYS, Row, Window


@dataclass(frozen=True, slots=True)
class Head:
    """What a HEAD says: the object, its replication status ("" for none) and how it is encrypted."""

    row: Row
    status: str
    encryption: str


class Bucket:
    """Reads through ``request(operation, **arguments)``, which counts. Safe to be used by several threads.

    With version ids it lists versions and takes the current ones; such a page holds fewer keys where old
    versions or delete markers lie between them.
    """

    def __init__(self, request: Callable[..., Any], name: str, prefix: str, identity: Identity) -> None:
        self.request = request
        self.name = name
        self.prefix = prefix
        self.identity = identity
        self.now = 0.0
        """The server's clock at its last answer, in epoch seconds."""

    def __str__(self) -> str:
        return f"s3://{self.name}/{self.prefix}"

    def pages(self, *, after: str = "") -> Iterator[list[Row]]:
        """All rows above ``after``, in the order of their keys. No page is empty."""
        for page in self._versions(after) if self.identity.version_id else self._objects(after):
            if rows := [self._row(item) for item in page]:
                yield rows

    def thousands(self) -> Iterator[list[Row]]:
        """All rows in lists of `WINDOW_KEYS`, the last one shorter."""
        held: list[Row] = []
        for rows in self.pages():
            held += rows
            while len(held) >= WINDOW_KEYS:
                yield held[:WINDOW_KEYS]
                held = held[WINDOW_KEYS:]
        if held:
            yield held

    def inside(self, window: Window, *, to_the_end: bool = False) -> list[Row]:
        """The rows in the window's range, in as few pages as possible: it stops when the window is complete,
        unless it has to go ``to_the_end``."""
        found: list[Row] = []
        for rows in self.pages(after=window.after):
            found += [row for row in rows if row.key <= window.until]
            if rows[-1].key >= window.until or (not to_the_end and window.holds(found)):
                break
        return found

    def head(self, key: str) -> Head | None:
        """One object, or None if it is not there."""
        try:
            answer = self.request("head_object", Bucket=self.name, Key=key)
        except Exception as error:
            if http_status_of(error) == 404:
                return None
            raise
        self._note_time(answer)
        modified = answer["LastModified"].timestamp() if "LastModified" in answer else 0.0
        row = Row(key, answer["ContentLength"], self.identity.mark(answer), modified)
        return Head(row, answer.get("ReplicationStatus", ""), answer.get("ServerSideEncryption", ""))

    def read(self, key: str) -> bytes:
        """The content of one object. Raises the client's error if it is not there."""
        answer = self.request("get_object", Bucket=self.name, Key=key)
        self._note_time(answer)
        content: bytes = answer["Body"].read()
        return content

    def _objects(self, after: str) -> Iterator[list[dict[str, Any]]]:
        arguments = {"Bucket": self.name, "Prefix": self.prefix, "MaxKeys": WINDOW_KEYS}
        if after:
            arguments["StartAfter"] = after
        while True:
            page = self.request("list_objects_v2", **arguments)
            self._note_time(page)
            yield page.get("Contents", [])
            if not page.get("IsTruncated"):
                return
            arguments["ContinuationToken"] = page["NextContinuationToken"]
            arguments.pop("StartAfter", None)

    def _versions(self, after: str) -> Iterator[list[dict[str, Any]]]:
        arguments = {"Bucket": self.name, "Prefix": self.prefix, "MaxKeys": WINDOW_KEYS}
        if after:
            arguments["KeyMarker"] = after
        while True:
            page = self.request("list_object_versions", **arguments)
            self._note_time(page)
            # A marker without a version id starts after that key; some servers give its versions again.
            yield [item for item in page.get("Versions", []) if item["IsLatest"] and item["Key"] > after]
            if not page.get("IsTruncated"):
                return
            arguments["KeyMarker"] = page["NextKeyMarker"]
            arguments["VersionIdMarker"] = page["NextVersionIdMarker"]

    def _row(self, item: Mapping[str, Any]) -> Row:
        return Row(item["Key"], item["Size"], self.identity.mark(item), item["LastModified"].timestamp())

    def _note_time(self, answer: Mapping[str, Any]) -> None:
        self.now = max(self.now, server_time(answer).timestamp())
