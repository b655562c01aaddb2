"""S3 Batch Replication: jobs of S3 Control that replicate what replication left behind. moto has none.

Known: CreateJob with S3ReplicateObject and a manifest generator (replication statuses, key prefixes, creation times),
DescribeJob, UpdateJobStatus to Cancelled, completion reports. As on AWS, a job replicates through the bucket's own
rules, also objects older than them, and not what is a replica itself. What AWS says when nothing matches is not
documented: here the job fails.
"""

from __future__ import annotations

import csv
import io
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock, Thread
from typing import Any
from urllib.parse import quote

import xmltodict  # type: ignore[import-untyped]
from moto.s3.models import FakeDeleteMarker

from airflow_lockprovider.demo.aws import replication_rules, s3_store
from airflow_lockprovider.demo.aws.errors import AwsError
from airflow_lockprovider.demo.aws.replication import COMPLETED, FAILED, PENDING, Copy, Replication
from airflow_lockprovider.demo.aws.request import AwsRequest
from airflow_lockprovider.demo.aws.settings import Settings

PATH = "/v20180820/jobs"
_ENDED = frozenset({"Complete", "Failed", "Cancelled"})
_XMLNS = "http://awss3control.amazonaws.com/doc/2018-08-20/"
_POLL = 0.01


@dataclass(slots=True)
class Job:
    asked: dict[str, Any]
    job_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created_at: float = field(default_factory=time.time)
    status: str = "New"
    failure: tuple[str, str] | None = None
    copies: list[Copy] = field(default_factory=list)
    total: int = 0
    ended_at: float | None = None

    def tasks(self) -> dict[tuple[str, str], str]:
        """(key, version id) → status: FAILED if one of its copies did, PENDING while one is under way."""
        found: dict[tuple[str, str], str] = {}
        for each in self.copies:
            before = found.get((each.key, each.version_id), COMPLETED)
            found[each.key, each.version_id] = min(before, each.status, key=(FAILED, PENDING, COMPLETED).index)
        return found

    def describe(self) -> dict[str, Any]:
        tasks = list(self.tasks().values())
        reasons = (
            {"member": dict(zip(("FailureCode", "FailureReason"), self.failure, strict=True))} if self.failure else None
        )
        described = {
            "JobId": self.job_id,
            "Status": self.status,
            "Description": self.asked.get("Description"),
            "Priority": self.asked["Priority"],
            "RoleArn": self.asked["RoleArn"],
            "CreationTime": _iso(self.created_at),
            "TerminationDate": _iso(self.ended_at) if self.ended_at else None,
            "ProgressSummary": {
                "TotalNumberOfTasks": self.total,
                "NumberOfTasksSucceeded": tasks.count(COMPLETED),
                "NumberOfTasksFailed": tasks.count(FAILED),
            },
            "FailureReasons": reasons,
            "Report": self.asked["Report"],
        }
        return {name: value for name, value in described.items() if value is not None}


class BatchReplication:
    """The jobs; each runs in a thread of its own."""

    def __init__(self, settings: Callable[[], Settings], replication: Replication) -> None:
        self._settings = settings
        self._replication = replication
        self._lock = Lock()
        self._jobs: dict[str, Job] = {}
        self._by_token: dict[str, Job] = {}
        self._threads: list[Thread] = []

    def answer(self, request: AwsRequest) -> bytes | None:
        """The XML, or None to leave the request to moto. Raises AwsError."""
        path = request.environ["PATH_INFO"].removeprefix(PATH).strip("/")
        if request.operation == "CreateJob":
            return _xml("CreateJobResult", {"JobId": self._create(request.body()).job_id})
        job_id = path.partition("/")[0]
        with self._lock:
            job = self._jobs.get(job_id)
        if job is None:
            raise AwsError("NoSuchJob", f"The specified job does not exist: {job_id}", 404)
        if request.operation == "DescribeJob":
            return _xml("DescribeJobResult", {"Job": job.describe()})
        if request.operation == "UpdateJobStatus":
            if job.status in _ENDED:
                raise AwsError("JobStatusException", f"The job is {job.status} already", 400)
            job.status = "Cancelled"
            return _xml("UpdateJobStatusResult", {"JobId": job.job_id, "Status": "Cancelling"})
        return None

    def stop(self) -> None:
        """Cancel what runs, wait for it, forget all."""
        with self._lock:
            for job in self._jobs.values():
                job.status = job.status if job.status in _ENDED else "Cancelled"
            threads, self._threads = self._threads, []
            self._jobs.clear()
            self._by_token.clear()
        for thread in threads:
            thread.join()

    def _create(self, body: bytes) -> Job:
        asked: dict[str, Any] = xmltodict.parse(body)["CreateJobRequest"]
        if "S3ReplicateObject" not in (asked.get("Operation") or {}):
            raise AwsError("BadRequestException", "only S3ReplicateObject is simulated")
        if not (asked.get("ManifestGenerator") or {}).get("S3JobManifestGenerator"):
            raise AwsError("BadRequestException", "only jobs with a ManifestGenerator are simulated")
        with self._lock:
            job = self._by_token.get(asked["ClientRequestToken"])
            if job is None:
                job = self._jobs.setdefault((made := Job(asked)).job_id, made)
                self._by_token[asked["ClientRequestToken"]] = job
                thread = Thread(target=self._run, args=(job,), name=f"batch-{job.job_id}", daemon=True)
                self._threads.append(thread)
                thread.start()
        return job

    def _run(self, job: Job) -> None:
        try:
            job.status = "Preparing"
            self._sleep(job, self._settings().batch_preparing)
            versions = self._selected(job.asked["ManifestGenerator"]["S3JobManifestGenerator"])
            if job.status in _ENDED:
                return
            job.total, job.status = len(versions), "Active"
            for bucket, version in versions:
                job.copies += self._replication.repeat(bucket, version)
            while PENDING in job.tasks().values() and job.status not in _ENDED:
                time.sleep(_POLL)
            if job.status not in _ENDED:
                self._report(job)
                job.ended_at, job.status = time.time(), "Complete"
        except AwsError as error:
            job.failure, job.ended_at, job.status = (error.code, error.message), time.time(), "Failed"

    def _sleep(self, job: Job, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and job.status not in _ENDED:
            time.sleep(_POLL)

    def _selected(self, generator: dict[str, Any]) -> list[tuple[str, Any]]:
        bucket = str(generator["SourceBucket"]).rpartition(":")[2]
        found = s3_store.find_bucket(bucket)
        if found is None or not getattr(found, "replication", None):
            raise AwsError("ReplicationConfigurationNotFoundError", f"{bucket} has no replication configuration")
        wanted = generator.get("Filter") or {}
        statuses = set(_list(wanted.get("ObjectReplicationStatuses"))) or {"COMPLETED", "FAILED", "REPLICA", "NONE"}
        prefixes = tuple(_list((wanted.get("KeyNameConstraint") or {}).get("MatchAnyPrefix"))) or ("",)
        first, last = (_moment(wanted.get(name)) for name in ("CreatedAfter", "CreatedBefore"))
        selected = []
        for key, versions in found.keys.lists():
            for version in versions:
                if isinstance(version, FakeDeleteMarker) or not str(key).startswith(prefixes):
                    continue
                written = version.last_modified.replace(tzinfo=UTC)
                if (first and written < first) or (last and written > last):
                    continue
                status = self._replication.status(bucket, key, version.version_id) or "NONE"
                if status in statuses and status != "REPLICA" and replication_rules.destinations(bucket, version):
                    selected.append((bucket, version))
        if not selected:
            raise AwsError("ManifestGenerationFoundNoKeys", "No object matches the filter of the manifest generator")
        return selected

    def _report(self, job: Job) -> None:
        report = job.asked["Report"]
        if report.get("Enabled") != "true":
            return
        bucket = str(report["Bucket"]).rpartition(":")[2]
        folder = f"{report['Prefix'].rstrip('/')}/job-{job.job_id}" if report.get("Prefix") else f"job-{job.job_id}"
        results = []
        source = str(job.asked["ManifestGenerator"]["S3JobManifestGenerator"]["SourceBucket"]).rpartition(":")[2]
        for status, name in ((COMPLETED, "succeeded"), (FAILED, "failed")):
            tasks = [task for task, seen in job.tasks().items() if seen == status]
            if not tasks or (name == "succeeded" and report.get("ReportScope") == "FailedTasksOnly"):
                continue
            text = io.StringIO()
            why = ["", "200", "Successful"] if name == "succeeded" else ["ReplicationFailed", "403", "scripted"]
            csv.writer(text).writerows([source, quote(key), version, name, *why] for key, version in tasks)
            key = f"{folder}/results/{uuid.uuid4().hex}.csv"
            s3_store.backend().put_object(bucket, key, text.getvalue().encode())
            results.append({"TaskExecutionStatus": name, "Bucket": bucket, "Key": key})
        manifest = {
            "Format": "Report_CSV_20180820",
            "ReportCreationDate": _iso(time.time()),
            "Results": results,
            "ReportSchema": "Bucket, Key, VersionId, TaskStatus, ErrorCode, HTTPStatusCode, ResultMessage",
        }
        s3_store.backend().put_object(bucket, f"{folder}/manifest.json", json.dumps(manifest).encode())


def operation_of(method: str, path: str) -> str:
    """Which operation a request to S3 Control is, as far as it is about jobs."""
    rest = path.removeprefix(PATH).strip("/")
    if not path.startswith(PATH):
        return f"{method} {path}"
    if not rest:
        return "CreateJob" if method == "POST" else "ListJobs"
    return "UpdateJobStatus" if rest.endswith("/status") else "DescribeJob"


def _xml(name: str, content: dict[str, Any]) -> bytes:
    return str(xmltodict.unparse({name: {"@xmlns": _XMLNS, **content}})).encode()


def _list(value: Any) -> list[str]:
    members = (value or {}).get("member", []) if isinstance(value, dict) else value or []
    return [members] if isinstance(members, str) else list(members)


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
