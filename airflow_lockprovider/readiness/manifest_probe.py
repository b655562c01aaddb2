"""Is all that a manifest names in one bucket?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any, ClassVar

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.bucket import Bucket, pieces
from airflow_lockprovider.readiness.client_error import code_of, http_status_of
from airflow_lockprovider.readiness.identity import Identity
from airflow_lockprovider.readiness.manifest_reader import ManifestReader
from airflow_lockprovider.readiness.probe import Probe
from airflow_lockprovider.readiness.replication_expected import FromManifest, rows_of
from airflow_lockprovider.readiness.replication_finding import HEADS_PER_LIST, NAMED, Finding, Gap, named
from airflow_lockprovider.readiness.replication_freeze import windows_of
from airflow_lockprovider.readiness.rows import Row, Rows
from airflow_lockprovider.readiness.s3_location import S3Location
from airflow_lockprovider.readiness.server_time import server_time
from airflow_lockprovider.readiness.verdict import Status, Verdict, in_words
from airflow_lockprovider.readiness.window import WINDOW_KEYS, Window, dump, load

_WORKERS = 4


class ManifestProbe(Probe):
    """Waits for the manifest, and then for every object it names, in one bucket: in the bucket of the writer, or in a
    replica of it, whose source it needs no access to.

    The first look lists a thousand keys per request (up to 12 objects are asked for one by one); later looks only
    touch what was missing. An object of another size (``identity`` can also compare version ids and ETags) counts as
    missing. A manifest that is replaced while we wait ends the wait: nobody knows which of the two was meant.

    ``manifest``: ``s3://bucket/key``, or a key in ``bucket``. ``stall_after``: seconds without an arrival after which
    verdicts are marked ``stalled``.
    """

    kind: ClassVar[str] = "s3_manifest"
    client_services: ClassVar[Mapping[str, str]] = {"s3": "s3"}

    def __init__(
        self,
        clients: Mapping[str, Any],
        *,
        bucket: str,
        manifest: str,
        identity: Collection[str] = ("key", "size"),
        min_objects: int = 1,
        stall_after: float | None = None,
        max_transient_errors: int = 10,
    ) -> None:
        super().__init__(clients, max_transient_errors=max_transient_errors)
        self.identity = Identity.of(identity)
        self.min_objects = min_objects
        self.stall_after = stall_after
        self.place = S3Location.parse(manifest) if "://" in manifest else S3Location(bucket, manifest)
        self._bucket = Bucket(self._ask, bucket, "", self.identity)
        self._windows: list[Window] = []
        self._gaps: dict[int, Gap] = {}
        self._frozen = False
        self._reading = Lock()
        self._etag = ""
        self._prefix = ""
        self._written_at = 0.0
        self._moved_at = 0.0
        self._was_stalled = False
        self._facts: dict[str, Any] = {}
        self._expected = FromManifest(lambda: self._read()[1])

    def _begin(self) -> Verdict:
        self.must_begin = False  # nothing is changed in the world: a step can do all of it
        return self._step()

    def _step(self) -> Verdict:
        if not self._frozen:
            return self._first_look()
        pending = [at for at, window in enumerate(self._windows) if not window.arrived]
        try:
            return self._note(pending, self._all(self._again, pending))
        except _Replaced:
            return self._counted(
                Status.FAILED,
                f"{self.place} was replaced or deleted while we waited for what it named; clear this task to wait for "
                "what it names now",
            )

    def _first_look(self) -> Verdict:
        try:
            manifest, rows = self._read()
        except ConfigurationError as error:
            return self._verdict(Status.MISCONFIGURED, f"{self.place}: {error}")
        except Exception as error:
            if http_status_of(error) != 404 or code_of(error) == "NoSuchBucket":
                raise
            self._note_time(getattr(error, "response", {}))
            self._moved_at = self._moved_at or self._bucket.now
            return self._waiting(f"there is no manifest {self.place} yet")
        if len(rows) < self.min_objects:
            return self._verdict(
                Status.FAILED,
                f"{self.place} names {len(rows):,} objects, at least {self.min_objects:,} were expected",
            )
        self._prefix = self._bucket.prefix = rows.prefix
        self._facts = {
            "manifest": str(self.place),
            "run_id": manifest.about["run_id"],
            "objects": manifest.objects,
            "bytes": manifest.size,
            "rows": manifest.rows,
        }
        self._moved_at = self._bucket.now
        held = list(windows_of(rows.in_lists_of(WINDOW_KEYS)))
        self._windows = [window for window, _ in held]
        self._frozen = True
        return self._note(range(len(held)), self._all(lambda at: self._look(*held[at]), range(len(held))))

    def _again(self, at: int) -> Finding:
        window, gap = self._windows[at], self._gaps.get(at)
        if gap is not None and gap.few is not None:
            return Finding(Gap.of(self._absent(gap.few)))
        if window.holds(there := self._bucket.inside(window)):
            return Finding()
        with self._reading:  # of several windows, one reads the manifest
            rows = self._expected.rows(window, Finding())
        return self._compare(rows, there)

    def _look(self, window: Window, rows: Rows) -> Finding:
        if len(rows) <= HEADS_PER_LIST:
            return Finding(Gap.of(self._absent(rows)))
        return self._compare(rows, self._bucket.inside(window))

    def _compare(self, rows: Rows, there: Rows) -> Finding:
        missing = rows.missing_in(there)
        arrived = set(there.keys)
        return Finding(Gap.of(missing), changed=[key for key in missing.keys if key in arrived])

    def _absent(self, rows: Rows) -> Rows:
        return rows.pick(at for at, row in enumerate(rows) if not self._is_there(row))

    def _is_there(self, row: Row) -> bool:
        head = self._bucket.head(row.key)
        return head is not None and (head.row.size, head.row.mark) == (row.size, row.mark)

    def _all(self, look: Any, windows: Iterable[int]) -> list[Finding]:
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="readiness") as pool:
            return list(pool.map(look, windows))

    def _note(self, looked_at: Iterable[int], findings: Iterable[Finding]) -> Verdict:
        looked_at, other = list(looked_at), []
        # After a restart nobody knows how many of a window were missing.
        before = self._missing() if all(at in self._gaps for at in looked_at) else 0
        for at, finding in zip(looked_at, findings, strict=True):
            self._windows[at].arrived = finding.gap is None
            self._gaps.pop(at, None)
            if finding.gap is not None:
                self._gaps[at] = finding.gap
            other += finding.changed
        if self._missing() < before:
            self._moved_at = self._bucket.now
        if all(window.arrived for window in self._windows):
            return self._counted(Status.READY, f"all that {self.place} names is in s3://{self._bucket.name}")
        what = f"{named(self._oldest(), self._missing())} of {self.place} not in s3://{self._bucket.name} yet"
        if other:
            what += f"; {named(other)} there with another size or version than the manifest says"
        return self._counted(Status.WAIT, what)

    def _counted(self, status: Status, reason: str) -> Verdict:
        waited = max(0.0, self._bucket.now - self._written_at) if self._written_at else None
        still = self._bucket.now - self._moved_at
        stalled = status is Status.WAIT and self.stall_after is not None and still > self.stall_after
        newly, self._was_stalled = stalled and not self._was_stalled, stalled
        expected = sum(window.count for window in self._windows)
        return Verdict(
            status,
            expected=expected,
            arrived=expected - self._missing(),
            missing_sample=tuple(self._oldest()),
            oldest_pending=waited if status is Status.WAIT else None,
            reason=f"{reason}; nothing arrived for {in_words(still)}" if stalled else reason,
            stalled=stalled,
            newly_stalled=newly,
            lag=waited if status is Status.READY else None,
            facts=self._facts,
        )

    def _missing(self) -> int:
        """Objects; all of a window that nobody has looked at in this process counts as missing."""
        return sum(
            self._gaps[at].count if at in self._gaps else window.count
            for at, window in enumerate(self._windows)
            if not window.arrived
        )

    def _oldest(self) -> list[str]:
        return [row.key for gap in self._gaps.values() for row in gap.oldest][:NAMED]

    def _waiting(self, reason: str) -> Verdict:
        return self._counted(Status.WAIT, reason)

    def _read(self) -> tuple[ManifestReader, Rows]:
        arguments = {"IfMatch": self._etag} if self._frozen else {}
        try:
            answer = self._request("s3", "get_object", Bucket=self.place.bucket, Key=self.place.key, **arguments)
        except Exception as error:
            if self._frozen and http_status_of(error) in (404, 412):
                raise _Replaced from error
            raise
        self._note_time(answer)
        manifest = ManifestReader(pieces(answer["Body"]))
        rows = rows_of(manifest, self.identity)
        self._etag, self._written_at = answer["ETag"], answer["LastModified"].timestamp()
        return manifest, rows.written_at(self._written_at)

    def _note_time(self, answer: Mapping[str, Any]) -> None:
        self._bucket.now = max(self._bucket.now, server_time(answer).timestamp())

    def _ask(self, operation: str, **arguments: Any) -> Any:
        return self._request("s3", operation, **arguments)

    def _described(self) -> str:
        return f"{self.place} and s3://{self._bucket.name}"

    def _memory(self) -> dict[str, Any]:
        return {
            "windows": dump(self._windows) if self._frozen else "",
            "etag": self._etag,
            "prefix": self._prefix,
            "written_at": self._written_at,
            "moved_at": self._moved_at,
            "was_stalled": self._was_stalled,
            "facts": self._facts,
        }

    def _remember(self, memory: Mapping[str, Any]) -> None:
        self._frozen = bool(memory["windows"])
        self._windows = load(memory["windows"]) if self._frozen else []
        self._etag, self._facts = memory["etag"], dict(memory["facts"])
        self._prefix = self._bucket.prefix = memory["prefix"]
        self._written_at, self._moved_at = memory["written_at"], memory["moved_at"]
        self._was_stalled = memory["was_stalled"]


class _Replaced(Exception):
    """The manifest is another one than we began with."""
