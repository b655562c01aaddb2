"""Have the objects of one S3 bucket arrived in its replica?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import ceil
from typing import Any, ClassVar, Literal

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.client_error import code_of, http_status_of
from airflow_lockprovider.readiness.probe import Probe
from airflow_lockprovider.readiness.replication_rule import why_not_covered
from airflow_lockprovider.readiness.server_time import server_time
from airflow_lockprovider.readiness.verdict import Status, Verdict
from airflow_lockprovider.readiness.window import WINDOW_KEYS, Row, Window, digest, dump, load, separator

HEADS_PER_LIST = 12
"""One LIST costs as much as 12.5 HEADs, so up to 12 known missing keys are asked for one by one."""

SAMPLES_PER_LOOK = 10 * HEADS_PER_LIST
"""HEADs per look, over all windows that miss more than that: a refusal shows soon, the bill stays small."""

RELIST_EVERY = 4
"""With several destinations the source says PENDING until the last one is done. So ours is listed now and then."""

LOOKS_FOR_COMPLETED = 2
"""COMPLETED on the source but absent at the destination is believed at this look."""

NAMED = 5
"""Keys named in a verdict."""


@dataclass(slots=True)
class _Gap:
    """What one window still misses. ``few`` is None when there are too many to remember."""

    count: int
    oldest: list[Row]
    few: list[Row] | None

    @classmethod
    def of(cls, missing: Sequence[Row]) -> _Gap:
        oldest = sorted(missing, key=lambda row: row.modified)[:NAMED]
        return cls(len(missing), oldest, list(missing) if len(missing) <= HEADS_PER_LIST else None)


@dataclass(slots=True)
class _Finding:
    """What one look at one window found."""

    gap: _Gap | None = None
    failed: list[str] = field(default_factory=list)
    not_eligible: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)


class ReplicationProbe(Probe):
    """The set is listed once, in ``begin()``, and compared with the destination by key and size.

    Later looks only touch windows of about 1000 keys that miss something: at most two LISTs each, or a HEAD for
    each of the last 12 keys. Objects that only the destination has are nobody's concern.

    ``compare="etag"`` compares ETags too. It notices an object that was overwritten by one of the same size; do
    not use it where the replica is encrypted with another KMS key, which changes the ETag.
    ``on_source_change``: what to do when the frozen set changes on the source: "fail", or "refreeze" the window.
    ``stall_after``: seconds without an arrival after which verdicts are marked ``stalled``.
    """

    kind: ClassVar[str] = "s3_replication"
    client_services: ClassVar[Mapping[str, str]] = {"source": "s3", "destination": "s3"}

    def __init__(
        self,
        clients: Mapping[str, Any],
        *,
        source_bucket: str,
        destination_bucket: str,
        prefix: str = "",
        min_objects: int = 1,
        on_source_change: Literal["fail", "refreeze"] = "fail",
        compare: Literal["size", "etag"] = "size",
        preflight: bool = True,
        stall_after: float | None = None,
        max_transient_errors: int = 10,
        workers: int = 8,
    ) -> None:
        super().__init__(clients, max_transient_errors=max_transient_errors)
        for bucket in (source_bucket, destination_bucket):
            if bucket.endswith("--x-s3"):
                raise ConfigurationError(f"{bucket} is a directory bucket: S3 neither replicates nor sorts those")
        self.buckets = {"source": source_bucket, "destination": destination_bucket}
        self.prefix = prefix
        self.min_objects = min_objects
        self.on_source_change = on_source_change
        self.compare = compare
        self.preflight = preflight
        self.stall_after = stall_after
        self.workers = workers
        self._windows: list[Window] = []
        self._gaps: dict[str, _Gap] = {}  # by Window.until; a pending window without one has to be listed
        self._absent_looks: dict[str, int] = {}
        self._looks = 0
        self._frozen_at = self._server_now = self._moved_at = 0.0
        self._best = -1

    # -- the two looks

    def _begin(self) -> Verdict:
        if self.preflight and (problem := self._preflight_problem()):
            return self._verdict(Status.MISCONFIGURED, problem)
        self._freeze()
        verdict = self._conclude([])
        self.must_begin = verdict.status is Status.FAILED
        return verdict

    def _step(self) -> Verdict:
        self._looks += 1
        pending = [window for window in self._windows if not window.arrived]
        turns = ceil(len(pending) / SAMPLES_PER_LOOK)
        samples = min(HEADS_PER_LIST, max(1, SAMPLES_PER_LOOK // max(1, len(pending))))
        findings, error = [], None
        with ThreadPoolExecutor(self.workers, thread_name_prefix="readiness") as pool:
            looks = [
                (window, pool.submit(self._look_at, window, samples if (at + self._looks) % turns == 0 else 0))
                for at, window in enumerate(pending)
            ]
            for window, look in looks:
                # One window's error must not waste what the others found out.
                if error_here := look.exception():
                    error = error or error_here
                    continue
                finding = look.result()
                findings.append(finding)
                self._note(window, finding.gap)
        verdict = self._conclude(findings)
        if error and verdict.status is Status.WAIT:
            raise error
        return verdict

    # -- what is waited for

    def _preflight_problem(self) -> str:
        source, destination = self.buckets["source"], self.buckets["destination"]
        try:
            answer = self._request("source", "get_bucket_replication", Bucket=source)
        except Exception as error:
            if code_of(error) == "ReplicationConfigurationNotFoundError":
                return f"{source} has no replication configuration: nothing will ever be copied to {destination}"
            raise
        rules = answer["ReplicationConfiguration"]["Rules"]
        if problem := why_not_covered(rules, destination_bucket=destination, prefix=self.prefix):
            return f"{source}: {problem}"
        for client, bucket in self.buckets.items():
            if self._request(client, "get_bucket_versioning", Bucket=bucket).get("Status") != "Enabled":
                return f"versioning is not Enabled on {bucket}: S3 replicates between versioned buckets only"
        return ""

    def _freeze(self) -> None:
        """List the source once, and the destination beside it while the rows are at hand."""
        windows: list[Window] = []
        self._gaps.clear()
        with ThreadPoolExecutor(self.workers, thread_name_prefix="readiness") as pool:
            looks = []
            for rows in self._pages("source", after=""):
                if windows:
                    windows[-1].until = separator(windows[-1].until, rows[0].key)
                after, until = windows[-1].until if windows else "", rows[-1].key
                windows.append(Window(after, until, len(rows), digest(rows)))
                looks.append(pool.submit(self._missing, rows, after, until))
        for window, look in zip(windows, looks, strict=True):
            missing = look.result()
            self._note(window, _Gap.of(missing) if missing else None)
        self._windows = windows
        self._frozen_at = self._moved_at = self._server_now

    def _missing(self, rows: Sequence[Row], after: str, until: str) -> list[Row]:
        there = self._range("destination", Window(after, until, len(rows), digest(rows)))
        return _not_in(rows, there)

    # -- one window

    def _look_at(self, window: Window, samples: int) -> _Finding:
        known = self._gaps.get(window.until)
        finding = _Finding()
        if known is None or known.few is None or self._looks % RELIST_EVERY == 0:
            there = self._range("destination", window)
            if _is(window, there):
                return finding
            rows = self._range("source", window)
            if not _is(window, rows):
                if self.on_source_change == "refreeze":
                    window.count, window.digest = len(rows), digest(rows)
                else:
                    finding.changed += [row.key for row in rows if row.modified > self._frozen_at] or [
                        f"something between {window.after!r} and {window.until!r}"
                    ]
            missing = _not_in(rows, there)
        else:
            missing = known.few
        if len(missing) > HEADS_PER_LIST:
            # Another dozen at every look, so that each key has its turn.
            start = self._looks * HEADS_PER_LIST % len(missing)
            missing = missing[start:] + missing[:start]
            asked, rest = missing[:samples], missing[samples:]
        else:
            asked, rest = missing, []
        rest += [row for row in asked if self._still_missing(row, finding)]
        finding.gap = _Gap.of(rest) if rest else None
        return finding

    def _still_missing(self, row: Row, finding: _Finding) -> bool:
        """Ask the source how the copy of one object fares; anything but PENDING is checked at the destination."""
        source = self._head("source", row.key)
        if source is None or not self._same(row, source):
            finding.changed.append(row.key)
            return True
        status = source.get("ReplicationStatus")
        if status == "PENDING":
            return True
        # The status speaks of all destinations together; only ours counts.
        copy = self._head("destination", row.key)
        if copy is not None and self._same(row, copy):
            return False
        if status == "FAILED":
            finding.failed.append(row.key)
        elif status in ("COMPLETED", "COMPLETE"):  # botocore knows both spellings
            self._absent_looks[row.key] = looks = self._absent_looks.get(row.key, 0) + 1
            if looks >= LOOKS_FOR_COMPLETED:
                finding.lost.append(row.key)
        elif status in (None, "REPLICA"):
            finding.not_eligible.append(row.key)
        return True

    def _note(self, window: Window, gap: _Gap | None) -> None:
        window.arrived = gap is None
        if gap is None:
            self._gaps.pop(window.until, None)
        else:
            self._gaps[window.until] = gap

    # -- requests

    def _pages(self, side: str, *, after: str) -> Iterator[list[Row]]:
        arguments = {"Bucket": self.buckets[side], "Prefix": self.prefix, "MaxKeys": WINDOW_KEYS}
        if after:
            arguments["StartAfter"] = after
        while True:
            page = self._request(side, "list_objects_v2", **arguments)
            self._server_now = max(self._server_now, server_time(page).timestamp())
            if rows := [self._row(item) for item in page.get("Contents", ())]:
                yield rows
            if not page.get("IsTruncated"):
                return
            arguments["ContinuationToken"] = page["NextContinuationToken"]
            arguments.pop("StartAfter", None)

    def _range(self, side: str, window: Window) -> list[Row]:
        """The objects inside a window, in as few pages as possible."""
        found: list[Row] = []
        for rows in self._pages(side, after=window.after):
            found += [row for row in rows if row.key <= window.until]
            if rows[-1].key >= window.until or _is(window, found):
                break
        return found

    def _head(self, side: str, key: str) -> Mapping[str, Any] | None:
        try:
            answer: Mapping[str, Any] = self._request(side, "head_object", Bucket=self.buckets[side], Key=key)
        except Exception as error:
            if http_status_of(error) == 404:
                return None
            raise
        self._server_now = max(self._server_now, server_time(answer).timestamp())
        return answer

    def _row(self, item: Mapping[str, Any]) -> Row:
        etag = item["ETag"].strip('"') if self.compare == "etag" else ""
        return Row(item["Key"], item["Size"], etag, item["LastModified"].timestamp())

    def _same(self, row: Row, head: Mapping[str, Any]) -> bool:
        return head["ContentLength"] == row.size and (not row.etag or head["ETag"].strip('"') == row.etag)

    # -- verdicts

    def _conclude(self, findings: list[_Finding]) -> Verdict:
        source, destination = self._source(), f"s3://{self.buckets['destination']}"
        if failed := [key for finding in findings for key in finding.failed]:
            return self._summary(
                Status.FAILED,
                f"replication to {destination} FAILED for {_named(failed)} of {source}; S3 does not try again: "
                "check the role, the KMS key and the destination's bucket policy, then repair it "
                "with S3 Batch Replication",
                failed,
            )
        if not_eligible := [key for finding in findings for key in finding.not_eligible]:
            return self._summary(
                Status.FAILED,
                f"not eligible for replication to {destination}: {_named(not_eligible)} of {source} "
                "(older than the rule, outside its filter, encrypted with KMS while the rule leaves that out, "
                "or itself a replica); "
                "copy with S3 Batch Replication",
                not_eligible,
            )
        if lost := [key for finding in findings for key in finding.lost]:
            return self._summary(
                Status.FAILED,
                f"COMPLETED on {source} but absent at {destination}: {_named(lost)}; "
                "deleted there, expired by a lifecycle rule, or copied to another bucket",
                lost,
            )
        changed = [key for finding in findings for key in finding.changed]
        if changed and self.on_source_change == "fail":
            return self._summary(
                Status.FAILED,
                f"the source set changed while we waited: {_named(changed)} of {source}; "
                "run this sensor after the last writer, or set on_source_change='refreeze'",
                changed,
            )
        if changed:
            self._gaps.clear()  # list again: the new content is what is waited for now
        if (expected := self._expected()) < self.min_objects:
            return self._summary(
                Status.FAILED,
                f"{source} holds {expected:,} objects, wanted at least {self.min_objects:,}: "
                "has the step that writes them run, and is the prefix right?",
            )
        ready = all(window.arrived for window in self._windows)
        return self._summary(
            Status.READY if ready else Status.WAIT, "" if expected else f"{source} is empty, as allowed"
        )

    def _summary(self, status: Status, reason: str = "", sample: Sequence[str] = ()) -> Verdict:
        expected = self._expected()
        arrived = expected - sum(
            gap.count if (gap := self._gaps.get(window.until)) else window.count
            for window in self._windows
            if not window.arrived
        )
        if arrived > self._best:
            self._best, self._moved_at = arrived, self._server_now
        still = self._server_now - self._moved_at
        stalled = status is Status.WAIT and self.stall_after is not None and still >= self.stall_after
        if stalled and not reason:
            reason = f"nothing has arrived for {round(still)} s"
        oldest = sorted((row for gap in self._gaps.values() for row in gap.oldest), key=lambda row: row.modified)
        return Verdict(
            status,
            expected=expected,
            arrived=arrived,
            missing_sample=tuple(sample[:NAMED]) or tuple(row.key for row in oldest[:NAMED]),
            oldest_pending=max(0.0, self._server_now - oldest[0].modified) if oldest else None,
            reason=reason,
            requests=self.requests,
            stalled=stalled,
        )

    def _waiting(self, reason: str) -> Verdict:
        return self._summary(Status.WAIT, reason)

    def _expected(self) -> int:
        return sum(window.count for window in self._windows)

    def _source(self) -> str:
        return f"s3://{self.buckets['source']}/{self.prefix}"

    def _described(self) -> str:
        return f"{self._source()} and s3://{self.buckets['destination']}/{self.prefix}"

    # -- moving to another process

    def _memory(self) -> dict[str, Any]:
        return {
            "windows": dump(self._windows),
            "frozen_at": self._frozen_at,
            "moved_at": self._moved_at,
            "best": self._best,
            "looks": self._looks,
        }

    def _remember(self, memory: Mapping[str, Any]) -> None:
        self._windows = load(memory["windows"])
        self._frozen_at, self._moved_at = memory["frozen_at"], memory["moved_at"]
        self._best, self._looks = memory["best"], memory["looks"]


def _is(window: Window, rows: Sequence[Row]) -> bool:
    return len(rows) == window.count and digest(rows) == window.digest


def _not_in(rows: Sequence[Row], there: Sequence[Row]) -> list[Row]:
    have = {row.key: (row.size, row.etag) for row in there}
    return [row for row in rows if have.get(row.key) != (row.size, row.etag)]


def _named(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - NAMED:,} more" if len(keys) > NAMED else ""
    return f"{len(keys):,} object{'s' if len(keys) != 1 else ''} ({', '.join(keys[:NAMED])}{more})"
