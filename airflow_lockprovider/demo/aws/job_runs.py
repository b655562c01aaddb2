"""Glue job runs that take their time and end in any of the states that AWS knows.

moto keeps the jobs; its runs succeed at the first look. Here a run is STARTING, then RUNNING, then what the setting
``job_outcomes`` or a test says. Nothing is computed: a run writes no data, and ``MaxRetries`` starts no second one.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.glue.models import FakeJob, glue_backends

from airflow_lockprovider.demo.aws.errors import AwsError
from airflow_lockprovider.demo.aws.request import AwsRequest
from airflow_lockprovider.demo.aws.settings import Settings, matches

STARTING, RUNNING, STOPPING, WAITING = "STARTING", "RUNNING", "STOPPING", "WAITING"
STOPPED, SUCCEEDED, FAILED, TIMEOUT = "STOPPED", "SUCCEEDED", "FAILED", "TIMEOUT"
UNFINISHED = frozenset({STARTING, RUNNING, STOPPING, WAITING})
_MESSAGES = {
    FAILED: "Command failed with exit code 1",
    TIMEOUT: "Job run exceeded its timeout",
    "ERROR": "Internal service error",
    "EXPIRED": "The job run waited longer than allowed for its start",
}


@dataclass(slots=True)
class JobRun:
    """One run. Its state follows from the time, until somebody sets it."""

    job: FakeJob
    region: str
    arguments: dict[str, str]
    timeout: float
    """Seconds."""
    starting: float
    duration: float
    outcome: str
    error: str | None
    run_id: str = field(default_factory=lambda: f"jr_{uuid.uuid4().hex}{uuid.uuid4().hex}")
    started_at: float = field(default_factory=time.time)
    changed_at: float = field(default_factory=time.time)
    fixed: str | None = None

    def state(self, now: float) -> str:
        if self.fixed is not None:
            return self.fixed
        if now < self.started_at + self.starting:
            return STARTING
        if now < self._ends_at():
            return RUNNING
        return TIMEOUT if self.timeout < self.duration else self.outcome

    def becomes(self, state: str, error: str | None) -> None:
        self.changed_at, self.fixed, self.error = time.time(), state, error

    def as_dict(self, now: float) -> dict[str, Any]:
        state = self.state(now)
        has_ended = state not in UNFINISHED
        changed = self.changed_at if self.fixed else min(now, self._ends_at())
        message = self.error or _MESSAGES.get(state)
        described = {
            "Id": self.run_id,
            "Attempt": 0,
            "JobName": self.job.name,
            "StartedOn": self.started_at,
            "LastModifiedOn": changed,
            "CompletedOn": changed if has_ended else None,
            "JobRunState": state,
            "Arguments": self.arguments,
            "ErrorMessage": message if has_ended and state != SUCCEEDED else None,
            "PredecessorRuns": [],
            "ExecutionTime": int(changed - self.started_at),
            "Timeout": int(self.timeout / 60),
            "MaxCapacity": self.job.max_capacity,
            "WorkerType": self.job.worker_type,
            "NumberOfWorkers": self.job.number_of_workers,
            "LogGroupName": "/aws-glue/jobs",
            "GlueVersion": self.job.glue_version,
        }
        return {name: value for name, value in described.items() if value is not None}

    def _ends_at(self) -> float:
        return self.started_at + self.starting + min(self.duration, self.timeout)


class JobRuns:
    """The job run operations of the Glue API. Used by many server threads."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._lock = Lock()
        self._runs: list[JobRun] = []
        self._operations: dict[str, Callable[[str, dict[str, Any]], dict[str, Any]]] = {
            "BatchStopJobRun": self._stop,
            "GetJobRun": self._get,
            "GetJobRuns": self._get_all,
            "StartJobRun": self._start,
        }

    def answer(self, request: AwsRequest) -> dict[str, Any] | None:
        operation = self._operations.get(request.operation)
        if operation is None:
            return None
        with self._lock:
            return operation(request.region, request.parameters())

    def forget(self) -> None:
        with self._lock:
            self._runs.clear()

    def become(self, job: str, state: str, error: str | None, run_id: str | None) -> None:
        """That run, or the job's newest, is in this state from now on."""
        with self._lock:
            for run in reversed(self._runs):
                if run.job.name == job and run_id in (None, run.run_id):
                    return run.becomes(state, error)
        raise ValueError(f"job {job!r} has no run{f' {run_id}' if run_id else ''} to be {state}: start one first")

    def _start(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        job, settings, now = self._job(region, asked["JobName"]), self._settings(), time.time()
        unfinished = [run for run in self._of(job, region) if run.state(now) in UNFINISHED]
        if len(unfinished) >= job.execution_property.get("MaxConcurrentRuns", 1):
            raise AwsError("ConcurrentRunsExceededException", f"Concurrent runs exceeded for {job.name}")
        outcomes = settings.job_outcomes or {}
        run = JobRun(
            job=job,
            region=region,
            arguments={**job.default_arguments, **asked.get("Arguments", {}), **(job.non_overridable_arguments or {})},
            timeout=60.0 * (asked.get("Timeout") or job.timeout or 2880),
            starting=settings.job_start_lag,
            duration=settings.job_duration,
            outcome=next((end for pattern, end in outcomes.items() if matches(pattern, job.name)), SUCCEEDED),
            error=settings.job_error,
        )
        self._runs.append(run)
        return {"JobRunId": run.run_id}

    def _get(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        job = self._job(region, asked["JobName"])
        return {"JobRun": self._find(job, region, asked["RunId"]).as_dict(time.time())}

    def _get_all(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        newest_first = self._of(self._job(region, asked["JobName"]), region)[::-1]
        first = int(asked.get("NextToken", 0))
        end = first + asked.get("MaxResults", 200)
        now = time.time()
        answer: dict[str, Any] = {"JobRuns": [run.as_dict(now) for run in newest_first[first:end]]}
        return answer | ({"NextToken": str(end)} if end < len(newest_first) else {})

    def _stop(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        job, now = self._job(region, asked["JobName"]), time.time()
        stopped: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        for run_id in asked["JobRunIds"]:
            subject = {"JobName": job.name, "JobRunId": run_id}
            try:
                run = self._find(job, region, run_id)
                if run.state(now) not in UNFINISHED:
                    raise AwsError("JobRunCannotBeStoppedException", f"Job Run {run_id} is {run.state(now)}")
            except AwsError as error:
                detail = {"ErrorCode": error.code, "ErrorMessage": error.message}
                errors.append({**subject, "ErrorDetail": detail})
            else:
                run.becomes(STOPPED, None)
                stopped.append(subject)
        return {"SuccessfulSubmissions": stopped, "Errors": errors}

    def _job(self, region: str, name: str) -> FakeJob:
        job = glue_backends[DEFAULT_ACCOUNT_ID][region].jobs.get(name)
        if job is None:
            raise AwsError("EntityNotFoundException", f"Job with name: {name} not found.")
        return job

    def _of(self, job: FakeJob, region: str) -> list[JobRun]:
        # By identity: a job that was deleted and made anew starts without runs.
        return [run for run in self._runs if run.job is job and run.region == region]

    def _find(self, job: FakeJob, region: str, run_id: str) -> JobRun:
        for run in self._of(job, region):
            if run.run_id == run_id:
                return run
        raise AwsError("EntityNotFoundException", f"Job Run {run_id} of {job.name} not found.")
