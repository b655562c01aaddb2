"""One bucket of a replication, as a probe sees it: pages of rows, key ranges, single objects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_lockprovider.readiness.client_error import http_status_of
from airflow_lockprovider.readiness.identity import Identity
from airflow_lockprovider.readiness.rows import Row, Rows
from airflow_lockprovider.readiness.server_time import server_time
from airflow_lockprovider.readiness.turns import Turns
from airflow_lockprovider.readiness.window import WINDOW_KEYS, Window

LAST_KEY = "\U0010ffff"
"""Above every key that anybody uses."""

_CHUNK = 1 << 20
_TURNS = Turns(4, patience=1.0)
"""Of all buckets of all sensors in this process. With four, eight sensors that poll 20,000 missing objects each hold up
the loop as long as one does; more would calculate no faster."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a HEAD says: the object, its replication status ("" for none) and how it is encrypted."""

    row: Row
    status: str
    encryption: str


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a listing, and up to which key it is known now: `LAST_KEY` at its end. It may have no rows."""

    rows: Rows
    until: str

    @property
    def is_last(self) -> bool:
        """Nothing follows."""
        return self.until == LAST_KEY


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

    def pages(self, *, after: str = "") -> Iterator[Page]:
        """All rows above ``after``, in the order of their keys."""
        for items, until in self._versions(after) if self.identity.version_id else self._objects(after):
            yield Page(self._rows(items), until)

    def inside(self, window: Window, *, to_the_end: bool = False) -> Rows:
        """The rows in the window's range, in as few pages as possible: it stops when the window is complete,
        unless it has to go ``to_the_end``."""
        found = Rows()
        for page in self.pages(after=window.after):
            found = Rows.joined([found, page.rows.between(window.after, window.until)])
            if page.until >= window.until or (not to_the_end and window.holds(found)):
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

    def read(self, key: str) -> Iterator[bytes]:
        """The content of one object, in pieces. Raises the client's error if it is not there."""
        answer = self.request("get_object", Bucket=self.name, Key=key)
        self._note_time(answer)
        return pieces(answer["Body"])

    def _objects(self, after: str) -> Iterator[tuple[list[dict[str, Any]], str]]:
        arguments = {"Bucket": self.name, "Prefix": self.prefix, "MaxKeys": WINDOW_KEYS}
        if after:
            arguments["StartAfter"] = after
        while True:
            with _TURNS.turn():
                page = self.request("list_objects_v2", **arguments)
            self._note_time(page)
            items = page.get("Contents", [])
            if not page.get("IsTruncated"):
                yield items, LAST_KEY
                return
            yield items, items[-1]["Key"]
            arguments["ContinuationToken"] = page["NextContinuationToken"]
            arguments.pop("StartAfter", None)

    def _versions(self, after: str) -> Iterator[tuple[list[dict[str, Any]], str]]:
        arguments = {"Bucket": self.name, "Prefix": self.prefix, "MaxKeys": WINDOW_KEYS}
        if after:
            arguments["KeyMarker"] = after
        while True:
            with _TURNS.turn():
                page = self.request("list_object_versions", **arguments)
            self._note_time(page)
            # A marker without a version id starts after that key; some servers give its versions again.
            items = [item for item in page.get("Versions", []) if item["IsLatest"] and item["Key"] > after]
            if not page.get("IsTruncated"):
                yield items, LAST_KEY
                return
            # The current version of a key comes before its others, so the marker's key is known.
            yield items, page["NextKeyMarker"]
            arguments["KeyMarker"] = page["NextKeyMarker"]
            arguments["VersionIdMarker"] = page["NextVersionIdMarker"]

    def _rows(self, items: list[dict[str, Any]]) -> Rows:
        return Rows(
            [item["Key"] for item in items],
            [item["Size"] for item in items],
            [self.identity.mark(item) for item in items],
            [item["LastModified"].timestamp() for item in items],
        )

    def _note_time(self, answer: Mapping[str, Any]) -> None:
        self.now = max(self.now, server_time(answer).timestamp())


def pieces(body: Any) -> Iterator[bytes]:
    """What a GET answers, read piece by piece, so that nobody needs to hold all of it."""
    while piece := body.read(_CHUNK):
        yield piece
