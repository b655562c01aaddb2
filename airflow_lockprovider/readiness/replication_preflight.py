"""Can the copies come at all? Three requests at the beginning instead of a long timeout."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from airflow_lockprovider.readiness.bucket import Bucket
from airflow_lockprovider.readiness.client_error import code_of, http_status_of
from airflow_lockprovider.readiness.replication_rule import Coverage

AGAIN_AFTER = 600
"""Seconds between two checks: a rule that somebody disables meanwhile must not cost the whole timeout."""

KMS_LEFT_OUT = (
    "{} encrypts with KMS unless a writer asks for something else, and the replication rule leaves such objects out "
    "(SourceSelectionCriteria.SseKmsEncryptedObjects): they will not be copied"
)

_WILL_NOT_SAY = (403, 404, 405, 501)
"""No right to ask, no such setting, or a server that is not Amazon's: the objects themselves will tell."""


class Preflight:
    """Checks rule, destination, versioning and encryption; repeated now and then. ``coverage`` is what the rules do,
    as far as known."""

    def __init__(self, source: Bucket, destination: Bucket) -> None:
        self.source, self.destination = source, destination
        self.coverage = Coverage()
        self.checked_at = 0.0
        self.warning = ""

    def due(self, now: float) -> bool:
        """Whether it is time to check again. ``now`` by the server's clock."""
        return now - self.checked_at >= AGAIN_AFTER

    def problem(self) -> str:
        """Why nothing will arrive, or ``""``. ``warning`` says what may keep some objects from arriving."""
        source, destination = self.source.name, self.destination.name
        with ThreadPoolExecutor(1, thread_name_prefix="readiness") as pool:
            # The source is not asked: S3 takes no rule without versioning, and keeps it on while there is one.
            versioning = pool.submit(self.destination.request, "get_bucket_versioning", Bucket=destination)
            try:
                answer = self.source.request("get_bucket_replication", Bucket=source)
            except Exception as error:
                if code_of(error) == "ReplicationConfigurationNotFoundError":
                    return f"{source} has no replication configuration: nothing will ever be copied to {destination}"
                raise
        rules = answer["ReplicationConfiguration"]["Rules"]
        coverage = Coverage.of(rules, destination=destination, prefix=self.source.prefix)
        if isinstance(coverage, str):
            return f"{source}: {coverage}"
        if versioning.result().get("Status") != "Enabled":
            return f"versioning is not Enabled on {destination}: S3 replicates between versioned buckets only"
        self.coverage = coverage
        self.warning = "" if coverage.kms or not self._encrypts_with_kms() else KMS_LEFT_OUT.format(source)
        return ""

    def _encrypts_with_kms(self) -> bool:
        """Whether objects that say nothing else are encrypted with KMS, as far as we may know."""
        try:
            answer = self.source.request("get_bucket_encryption", Bucket=self.source.name)
        except Exception as error:
            if http_status_of(error) in _WILL_NOT_SAY:
                return False
            raise
        rules = answer.get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
        defaults = [rule.get("ApplyServerSideEncryptionByDefault", {}).get("SSEAlgorithm", "") for rule in rules]
        return any(algorithm.startswith("aws:kms") for algorithm in defaults)

    def memory(self) -> dict[str, Any]:
        """For `remember`, in JSON's own types."""
        coverage = self.coverage
        return {
            "checked_at": self.checked_at,
            "coverage": [coverage.tags, coverage.kms, coverage.delete_markers, coverage.several],
        }

    def remember(self, memory: dict[str, Any]) -> None:
        """Go on where `memory` was taken."""
        self.checked_at, self.coverage = memory["checked_at"], Coverage(*memory["coverage"])
