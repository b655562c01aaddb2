"""Have the objects of one S3 bucket arrived in its replica?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import ceil
from typing import Any, ClassVar

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.bucket import Bucket
from airflow_lockprovider.readiness.identity import Identity
from airflow_lockprovider.readiness.manifest_source import ManifestSource
from airflow_lockprovider.readiness.probe import Probe
from airflow_lockprovider.readiness.replication_expected import FromListing, FromManifest, OnSourceChange
from airflow_lockprovider.readiness.replication_finding import HEADS_PER_LIST, Finding, Gap
from airflow_lockprovider.readiness.replication_freeze import Frozen, freeze_known, freeze_listed
from airflow_lockprovider.readiness.replication_look import Looker
from airflow_lockprovider.readiness.replication_preflight import Preflight
from airflow_lockprovider.readiness.replication_progress import Progress
from airflow_lockprovider.readiness.replication_verdict import too_few, why_never
from airflow_lockprovider.readiness.table_format import DELTA, ICEBERG
from airflow_lockprovider.readiness.verdict import Status, Verdict
from airflow_lockprovider.readiness.window import Window, dump, load

SAMPLES_PER_LOOK = 10 * HEADS_PER_LIST
"""HEADs per look, over all windows that miss more than that: a refusal shows soon, the bill stays small."""

RELIST_EVERY = 4
"""With several destinations the source says PENDING until the last one is done. So ours is listed now and then."""


class ReplicationProbe(Probe):
    """The set is fixed once, in ``begin()``, and compared with the destination by its ``identity``.

    Later looks only touch windows of about 1000 keys that miss something: at most two LISTs each, or a HEAD for
    each of the last 12 keys.

    ``manifest``: a key of the source bucket, or ``s3://bucket/key``: the set is what it names. Without it the
    source is listed. ``identity``: with "version_id" versions are listed and compared. ``on_empty``: "fail", or
    "ready" for a set without objects; any other set must have ``min_objects``. ``on_source_change``: what to do
    when an object of the set is overwritten or deleted on the source: "fail"; "refreeze": wait for what is there
    now; "ignore": wait for it no more. ``strict_extra``: objects that only the destination has are a failure.
    ``allow_iceberg``: wait for the bare files of an Iceberg table. ``stall_after``: seconds without an arrival
    after which verdicts are marked ``stalled``.
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
        manifest: str | None = None,
        identity: Sequence[str] = ("key", "size"),
        min_objects: int = 1,
        on_empty: str = "fail",
        on_source_change: OnSourceChange = "fail",
        strict_extra: bool = False,
        preflight: bool = True,
        allow_iceberg: bool = False,
        stall_after: float | None = None,
        max_transient_errors: int = 10,
        workers: int = 4,
    ) -> None:
        super().__init__(clients, max_transient_errors=max_transient_errors)
        for bucket in (source_bucket, destination_bucket):
            if bucket.endswith("--x-s3"):
                raise ConfigurationError(f"{bucket} is a directory bucket: S3 neither replicates nor sorts those")
        compared = Identity.of(identity)
        self.source = Bucket(partial(self._request, "source"), source_bucket, prefix, compared)
        self.destination = Bucket(partial(self._request, "destination"), destination_bucket, prefix, compared)
        self.min_objects, self.on_empty = min_objects, on_empty
        self.policy: OnSourceChange = on_source_change
        self.strict = strict_extra
        self.allow_iceberg = allow_iceberg
        self.workers = workers
        self.preflight = Preflight(self.source, self.destination) if preflight else None
        self.manifest = ManifestSource.of(manifest, self.source) if manifest else None
        expected = FromManifest(self.manifest.rows) if self.manifest else FromListing(self.source, on_source_change)
        self.expected = expected
        self._looker = Looker(
            self.source,
            self.destination,
            expected,
            on_source_change,
            strict=strict_extra,
            known_extra=frozenset({self.manifest.key} if self.manifest else ()),
        )
        self._windows: list[Window] = []
        self._gaps: dict[str, Gap] = {}  # by Window.until; a pending window without one has to be listed
        self._looks = self._dropped = 0
        self._progress = Progress(stall_after)

    # -- the two looks

    def _begin(self) -> Verdict:
        try:
            if self.manifest:
                self.source.prefix = self.destination.prefix = self.manifest.load(self.source.prefix)
            frozen = self._freeze()
        except ConfigurationError as error:
            return self._verdict(Status.MISCONFIGURED, str(error))
        if frozen is None:
            assert self.manifest
            return self._verdict(Status.FAILED, self.manifest.absent())
        if frozen.formats.iceberg and not self.allow_iceberg:
            return self._verdict(Status.MISCONFIGURED, ICEBERG.format(self.source, frozen.formats.iceberg))
        self._windows, self._gaps = frozen.windows, {}
        for window, finding in zip(frozen.windows, frozen.findings, strict=True):
            self._note(window, finding)
        self._progress.begin(self._now(), frozen.size)
        warnings = []
        if self.preflight:
            self.preflight.checked_at = self._now()
            warnings.append(self.preflight.warning)
        if frozen.formats.delta:
            warnings.append(DELTA.format(self.source, frozen.formats.delta))
        self._progress.notes = tuple(filter(None, warnings))
        verdict = self._conclude(Finding.joined(frozen.findings))
        self.must_begin = verdict.status in (Status.FAILED, Status.MISCONFIGURED)
        return verdict

    def _freeze(self) -> Frozen | None:
        """None: there is no manifest. ConfigurationError: the preflight has found a problem."""
        with ThreadPoolExecutor(1, thread_name_prefix="readiness") as pool:
            checking = pool.submit(self._preflight_problem)

            def checked() -> None:
                if problem := checking.result():
                    raise ConfigurationError(problem)

            if self.manifest:
                checked()
                if not self.manifest.found:
                    return None
                return freeze_known(
                    self.manifest.thousands(), self._looker.first, workers=self.workers, with_tail=self.strict
                )
            # The buckets are listed while the rule is looked at.
            return freeze_listed(
                self.source, self.destination, self._looker.compare, with_tail=self.strict, first_seen=checked
            )

    def _preflight_problem(self) -> str:
        if self.preflight is None:
            return ""
        problem = self.preflight.problem()
        self._looker.coverage = self.preflight.coverage
        self.preflight.checked_at = self._now()
        return problem

    def _look_once(self) -> Verdict:
        verdict = self._begin()
        return verdict if verdict.status is not Status.WAIT else self._step()

    def _step(self) -> Verdict:
        self._looks += 1
        relist = self.strict or self._looks % RELIST_EVERY == 0
        pending = [window for window in self._windows if not window.arrived]
        turns = ceil(len(pending) / SAMPLES_PER_LOOK)
        samples = min(HEADS_PER_LIST, max(1, SAMPLES_PER_LOOK // max(1, len(pending))))
        findings, error = [], None
        with ThreadPoolExecutor(self.workers, thread_name_prefix="readiness") as pool:
            looks = [
                (
                    window,
                    pool.submit(
                        self._looker.again,
                        window,
                        None if relist else self._gaps.get(window.until),
                        look=self._looks,
                        samples=samples if (at + self._looks) % turns == 0 else 0,
                    ),
                )
                for at, window in enumerate(pending)
            ]
            for window, look in looks:
                # One window's error must not waste what the others found out.
                if error_here := look.exception():
                    error = error or error_here
                    continue
                findings.append(look.result())
                self._note(window, findings[-1])
        verdict = self._conclude(Finding.joined(findings))
        if verdict.status is not Status.WAIT:
            return verdict
        if isinstance(error, ConfigurationError):  # the manifest is not what it was
            return self._summary(Status.FAILED, str(error))
        if error:
            raise error
        if self.preflight and self.preflight.due(self._now()) and (problem := self._preflight_problem()):
            return self._summary(Status.MISCONFIGURED, f"{problem} (it was in order when the wait began)")
        return verdict

    def _note(self, window: Window, finding: Finding) -> None:
        window.arrived = finding.complete
        self._dropped += len(finding.dropped)
        if finding.gap is None:
            self._gaps.pop(window.until, None)
        else:
            self._gaps[window.until] = finding.gap

    # -- verdicts

    def _conclude(self, finding: Finding) -> Verdict:
        extra_may_go = self._looker.coverage.delete_markers
        never, keys = why_never(finding, self.source, self.destination, policy=self.policy, extra_may_go=extra_may_go)
        if never:
            return self._summary(Status.FAILED, never, keys)
        if isinstance(self.expected, FromManifest) and self.expected.too_many_dropped:
            return self._summary(
                Status.FAILED, f"{len(self.expected.dropped):,} objects of the manifest have changed: it is outdated"
            )
        if finding.changed or finding.dropped:
            self._progress.size = None  # nobody has counted the new bytes
        expected = self._expected()
        if expected < self.min_objects and not (expected == 0 and self.on_empty == "ready"):
            return self._summary(Status.FAILED, too_few(self.source, expected, self.min_objects))
        if all(window.arrived for window in self._windows):
            return self._summary(Status.READY, "" if expected else f"{self.source} is empty, as allowed")
        waiting = f"{len(finding.extra):,} only at the destination, to be deleted" if finding.extra else ""
        return self._summary(Status.WAIT, waiting)

    def _summary(self, status: Status, reason: str = "", sample: Sequence[str] = ()) -> Verdict:
        facts = self.manifest.facts() if self.manifest else {}
        if self._dropped:
            facts["dropped"] = self._dropped
        return self._progress.verdict(
            status, reason, sample, windows=self._windows, gaps=self._gaps, now=self._now(), facts=facts
        )

    def _waiting(self, reason: str) -> Verdict:
        return self._summary(Status.WAIT, reason)

    def _expected(self) -> int:
        return sum(window.count for window in self._windows)

    def _now(self) -> float:
        return max(self.source.now, self.destination.now)

    def _described(self) -> str:
        return f"{self.source} and {self.destination}"

    # -- moving to another process

    def _memory(self) -> dict[str, Any]:
        return {
            "windows": dump(self._windows),
            "prefix": self.source.prefix,
            "looks": self._looks,
            "dropped": self._dropped,
            "now": self._now(),
            "progress": self._progress.memory(),
            "preflight": self.preflight.memory() if self.preflight else None,
            "manifest": self.manifest.memory() if self.manifest else None,
            "dropped_keys": sorted(self.expected.dropped) if isinstance(self.expected, FromManifest) else [],
        }

    def _remember(self, memory: Mapping[str, Any]) -> None:
        self._windows = load(memory["windows"])
        self.source.prefix = self.destination.prefix = memory["prefix"]
        self._looks, self._dropped = memory["looks"], memory["dropped"]
        self.source.now = memory["now"]
        self._progress.remember(memory["progress"])
        if self.preflight:
            self.preflight.remember(memory["preflight"])
            self._looker.coverage = self.preflight.coverage
        if self.manifest:
            self.manifest.remember(memory["manifest"])
        if isinstance(self.expected, FromManifest):
            self.expected.dropped = set(memory["dropped_keys"])
