"""Has this S3 Batch Replication job repaired what replication left behind?"""

from __future__ import annotations

import csv
import io
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import unquote_plus

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.probe import Probe
from airflow_lockprovider.readiness.replication_finding import NAMED, named
from airflow_lockprovider.readiness.verdict import Status, Verdict, in_words

STATUSES = ("FAILED", "NONE", "COMPLETED", "REPLICA")
_ENDED_BADLY = frozenset({"Failed", "Cancelled"})
_FORMAT = "Report_CSV_20180820"


class BatchReplicationProbe(Probe):
    """``begin()`` creates the job, once also when its answer is lost; each look is one DescribeJob. READY: the job is
    complete and no object failed. Otherwise it ends with the job's reasons, or with the keys that its report names.

    ``statuses``: objects with which replication status; ``account_id``: None asks STS.
    """

    kind: ClassVar[str] = "s3_batch_replication"
    client_services: ClassVar[Mapping[str, str]] = {"s3control": "s3control", "s3": "s3", "sts": "sts"}

    def __init__(
        self,
        clients: Mapping[str, Any],
        *,
        source_bucket: str,
        role_arn: str,
        report_bucket: str,
        prefixes: Sequence[str] = (),
        statuses: Sequence[str] = ("FAILED", "NONE"),
        created_after: str | None = None,
        created_before: str | None = None,
        report_prefix: str = "batch-replication",
        account_id: str | None = None,
        priority: int = 10,
        description: str = "",
        max_transient_errors: int = 10,
    ) -> None:
        super().__init__(clients, max_transient_errors=max_transient_errors)
        if not statuses or not set(statuses) <= set(STATUSES):
            raise ConfigurationError(f"statuses={statuses!r} must be some of {', '.join(STATUSES)}")
        for setting, value in (
            ("source_bucket", source_bucket),
            ("role_arn", role_arn),
            ("report_bucket", report_bucket),
        ):
            if not value:
                raise ConfigurationError(f"{setting}={value!r} must not be empty")
        self.source_bucket, self.role_arn = source_bucket, role_arn
        self.report_bucket, self.report_prefix = report_bucket, report_prefix
        self.prefixes, self.statuses = list(prefixes), list(statuses)
        self.created_after, self.created_before = created_after, created_before
        self.account_id = account_id
        self.priority, self.description = priority, description
        self.job_id = ""
        self._token = str(uuid.uuid4())

    def _begin(self) -> Verdict:
        if not self.account_id:
            self.account_id = str(self._request("sts", "get_caller_identity")["Account"])
        answer = self._request(
            "s3control",
            "create_job",
            AccountId=self.account_id,
            ConfirmationRequired=False,
            Operation={"S3ReplicateObject": {}},
            ManifestGenerator={"S3JobManifestGenerator": self._generator()},
            Report={
                "Bucket": f"arn:aws:s3:::{self.report_bucket}",
                "Format": _FORMAT,
                "Enabled": True,
                "ReportScope": "FailedTasksOnly",
                **({"Prefix": self.report_prefix} if self.report_prefix else {}),
            },
            ClientRequestToken=self._token,
            Description=self.description[:256] or f"repair of the replication of {self.source_bucket}",
            Priority=self.priority,
            RoleArn=self.role_arn,
        )
        self.job_id = str(answer["JobId"])
        self.must_begin = False
        return self._waiting(f"{self._name()} is created")

    def _look_once(self) -> Verdict:
        if self.job_id:
            return self._step()
        return self._waiting(f"there is no job yet: looking once creates none for {self.source_bucket}")

    def _step(self) -> Verdict:
        answer = self._request("s3control", "describe_job", AccountId=self.account_id, JobId=self.job_id)
        job: Mapping[str, Any] = answer["Job"]
        state, progress = job.get("Status", ""), job.get("ProgressSummary") or {}
        total, failed = progress.get("TotalNumberOfTasks") or 0, progress.get("NumberOfTasksFailed") or 0
        done = progress.get("NumberOfTasksSucceeded") or 0
        if state == "Complete" and not failed:
            return self._counted(Status.READY, total, done, f"{self._name()} is complete")
        if state == "Complete":
            keys = self._failed_keys()
            what = named(keys, failed) if keys else f"{failed:,} objects"
            reason = f"{self._name()} is complete, and failed for {what}; the report says why: {self._report_place()}"
            return self._counted(Status.FAILED, total, done, reason, keys)
        if state in _ENDED_BADLY:
            reasons = [
                f"{each.get('FailureCode', '')}: {each.get('FailureReason', '')}"
                for each in job.get("FailureReasons") or []
            ]
            why = "; ".join(reasons) or job.get("StatusUpdateReason") or "no reason given"
            return self._counted(Status.FAILED, total, done, f"{self._name()} {state}: {why}")
        if state == "Suspended":
            return self._counted(
                Status.MISCONFIGURED, total, done, f"{self._name()} waits for a confirmation in the console"
            )
        elapsed = (progress.get("Timers") or {}).get("ElapsedTimeInActiveSeconds")
        since = f" for {in_words(elapsed)}" if elapsed else ""
        return self._counted(Status.WAIT, total, done, f"{self._name()} is {state}{since}")

    def _generator(self) -> dict[str, Any]:
        chosen: dict[str, Any] = {"EligibleForReplication": True, "ObjectReplicationStatuses": self.statuses}
        if self.prefixes:
            chosen["KeyNameConstraint"] = {"MatchAnyPrefix": self.prefixes}
        moments = {"CreatedAfter": self.created_after, "CreatedBefore": self.created_before}
        chosen |= {name: moment for name, moment in moments.items() if moment}
        return {"SourceBucket": f"arn:aws:s3:::{self.source_bucket}", "EnableManifestOutput": False, "Filter": chosen}

    def _failed_keys(self) -> list[str]:
        """A few of them, from the report. None if it cannot be read: the verdict must not depend on that."""
        try:
            listed = json.loads(self._content(self.report_bucket, f"{self._report_folder()}manifest.json"))
            failed = next(each for each in listed["Results"] if each["TaskExecutionStatus"] == "failed")
            rows = csv.reader(io.StringIO(self._content(failed["Bucket"], failed["Key"])))
            return [unquote_plus(row[1]) for row, _ in zip(rows, range(NAMED), strict=False)]
        except Exception:
            return []

    def _content(self, bucket: str, key: str) -> str:
        content: bytes = self._request("s3", "get_object", Bucket=bucket, Key=key)["Body"].read()
        return content.decode()

    def _report_place(self) -> str:
        return f"s3://{self.report_bucket}/{self._report_folder()}"

    def _report_folder(self) -> str:
        under = f"{self.report_prefix.rstrip('/')}/" if self.report_prefix else ""
        return f"{under}job-{self.job_id}/"

    def _counted(self, status: Status, total: int, done: int, reason: str, keys: Sequence[str] = ()) -> Verdict:
        facts = {"job_id": self.job_id, "report": self._report_place()}
        return Verdict(status, expected=total, arrived=done, missing_sample=tuple(keys), reason=reason, facts=facts)

    def _name(self) -> str:
        return f"S3 Batch job {self.job_id or '(none)'} of {self.source_bucket}"

    def _waiting(self, reason: str) -> Verdict:
        return self._counted(Status.WAIT, 0, 0, reason)

    def _described(self) -> str:
        return f"{self._name()} in account {self.account_id or '(unknown)'}, with the role {self.role_arn}"

    def _memory(self) -> dict[str, Any]:
        return {"job_id": self.job_id, "token": self._token, "account_id": self.account_id}

    def _remember(self, memory: Mapping[str, Any]) -> None:
        self.job_id, self._token = memory["job_id"], memory["token"]
        self.account_id = memory["account_id"]
