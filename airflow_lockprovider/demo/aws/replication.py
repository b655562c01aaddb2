"""S3 cross-region replication: written, PENDING, copied some time later, COMPLETED.

Semantics as in the S3 user guide ("Replication status information", "What does Amazon S3 replicate"): the
status header is shown only for eligible objects; with several destinations the source is COMPLETED when all
have it and FAILED when one failed; a copy keeps version id and LastModified; copies are not replicated
further; a missing or unversioned destination makes the object FAILED.
"""

from __future__ import annotations

import copy
import heapq
import itertools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Condition, Thread
from typing import Any

from airflow_lockprovider.demo.aws import replication_rules, s3_store
from airflow_lockprovider.demo.aws.settings import Settings, matches

PENDING, COMPLETED, FAILED, REPLICA = "PENDING", "COMPLETED", "FAILED", "REPLICA"


@dataclass(slots=True)
class Copy:
    """One version of an object on its way to one destination."""

    source: str
    destination: str
    key: str
    version_id: str
    size: int
    put_at: float
    status: str = PENDING
    replicated_at: float | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "destination": self.destination,
            "key": self.key,
            "version_id": self.version_id,
            "size": self.size,
            "status": self.status,
            "put_at": self.put_at,
            "put_at_iso": _iso(self.put_at),
            "replicated_at": self.replicated_at,
            "replicated_at_iso": _iso(self.replicated_at),
        }


class Replication:
    """Copies what was written, in one thread, and remembers every copy. Start it and stop it."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._changed = Condition()
        self._copies: list[Copy] = []
        self._from: dict[tuple[str, str, str], list[Copy]] = {}
        self._arrived: set[tuple[str, str, str]] = set()
        self._due: list[tuple[float, int, Copy]] = []
        self._stalled: list[Copy] = []
        self._order = itertools.count()
        self._running = False
        self._thread: Thread | None = None

    def start(self) -> None:
        self._running = True
        self._thread = Thread(target=self._work, name="s3-replication", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        with self._changed:
            self._running = False
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def forget(self) -> None:
        with self._changed:
            for held in (self._copies, self._from, self._arrived, self._due, self._stalled):
                held.clear()

    def reconsider(self) -> None:
        """Settings have changed: what was stalled may go on."""
        with self._changed:
            for stalled in self._stalled:
                self._schedule(stalled, 0)
            self._stalled.clear()

    def written(self, bucket: str, key: str, version_id: str | None) -> None:
        """A write has succeeded. Called before its answer is sent, so no reader sees an eligible object
        without a status."""
        version = s3_store.find_version(bucket, key, version_id)
        if version is None:
            return
        settings = self._settings()
        with self._changed:
            for destination in sorted(replication_rules.destinations(bucket, version)):
                started = Copy(bucket, destination, key, version.version_id, version.size, time.time())
                self._copies.append(started)
                self._from.setdefault((bucket, key, version.version_id), []).append(started)
                self._schedule(started, settings.replication_delay + random.random() * settings.replication_jitter)

    def deleted(self, bucket: str, key: str) -> None:
        """A delete has succeeded. If it left a marker, that may be copied like a write."""
        marker = s3_store.find_marker(bucket, key)
        if marker is None:
            return
        settings = self._settings()
        with self._changed:
            for destination in sorted(replication_rules.marker_destinations(bucket, key)):
                started = Copy(bucket, destination, key, marker.version_id, 0, time.time())
                self._copies.append(started)
                self._schedule(started, settings.replication_delay + random.random() * settings.replication_jitter)

    def repeat(self, bucket: str, version: Any) -> list[Copy]:
        """Copy it to all its destinations, also where that failed or was never begun: what a batch job does."""
        settings, place = self._settings(), (bucket, str(version.name), version.version_id)
        with self._changed:
            before = {each.destination: each for each in self._from.get(place, [])}
            made = []
            for destination in sorted(replication_rules.destinations(bucket, version)):
                if destination in before and before[destination].status != FAILED:
                    made.append(before[destination])
                    continue
                started = Copy(bucket, destination, place[1], place[2], version.size, time.time())
                self._copies.append(started)
                self._schedule(started, settings.replication_delay + random.random() * settings.replication_jitter)
                made.append(started)
            self._from[place] = made
        return made

    def status(self, bucket: str, key: str, version_id: str) -> str | None:
        """The value of ``x-amz-replication-status``, or None for no such header."""
        with self._changed:
            if (bucket, key, version_id) in self._arrived:
                return REPLICA
            found = {started.status for started in self._from.get((bucket, key, version_id), [])}
        return next((status for status in (FAILED, PENDING, COMPLETED) if status in found), None)

    def journal(self) -> list[dict[str, Any]]:
        """Every copy that was started, in the order of the writes."""
        with self._changed:
            return [started.as_dict() for started in self._copies]

    def _schedule(self, started: Copy, delay: float) -> None:
        heapq.heappush(self._due, (time.monotonic() + delay, next(self._order), started))
        self._changed.notify()

    def _work(self) -> None:
        with self._changed:
            while self._running:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is None or wait > 0:
                    self._changed.wait(wait)
                    continue
                self._finish(heapq.heappop(self._due)[2])

    def _finish(self, started: Copy) -> None:
        settings, place = self._settings(), f"{started.destination}/{started.key}"
        if matches(settings.replication_stall, place):
            self._stalled.append(started)
        elif matches(settings.replication_fail, place) or not _copy(started):
            started.status = FAILED
        else:
            started.replicated_at = time.time()
            self._arrived.add((started.destination, started.key, started.version_id))
            started.status = COMPLETED


def _copy(started: Copy) -> bool:
    version = s3_store.find_version(started.source, started.key, started.version_id)
    marker = s3_store.find_marker(started.source, started.key, started.version_id)
    destination = s3_store.find_bucket(started.destination)
    if destination is None or destination.versioning_status != "Enabled":
        return False
    if marker is not None:
        _put(destination, started.key, copy.copy(marker))
        return True
    if version is None:
        return False
    replica = copy.copy(version)  # moto's __getstate__ gives the copy a buffer of its own
    replica.bucket_name = started.destination
    replica.region_name = destination.region_name
    replica.multipart = None  # its parts belong to the source, and are closed with it
    s3_store.backend().tagger.copy_tags(version.arn, replica.arn)
    _put(destination, started.key, replica)
    return True


def _put(destination: Any, key: str, version: Any) -> None:
    there = destination.keys.getlist(key, []) or []
    # A late copy of an older version must not become the newest one.
    destination.keys.setlist(key, sorted([*there, version], key=lambda each: each.last_modified))


def _iso(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
