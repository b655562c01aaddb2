"""Can the copies come at all? Three requests at the beginning instead of a long timeout."""

from __future__ import annotations

from typing import Any

from airflow_lockprovider.readiness.bucket import Bucket
from airflow_lockprovider.readiness.client_error import code_of
from airflow_lockprovider.readiness.replication_rule import Coverage

AGAIN_AFTER = 600
"""Seconds between two checks: a rule that somebody disables meanwhile must not cost the whole timeout."""


class Preflight:
    """Checks rule, destination and versioning; repeated now and then. ``coverage`` is what the rules do, as far
    as known."""

    def __init__(self, source: Bucket, destination: Bucket) -> None:
        self.source, self.destination = source, destination
        self.coverage = Coverage()
        self.checked_at = 0.0

    def due(self, now: float) -> bool:
        """Whether it is time to check again. ``now`` by the server's clock."""
        return now - self.checked_at >= AGAIN_AFTER

    def problem(self) -> str:
        """Why nothing will arrive, or ``""``."""
        source, destination = self.source.name, self.destination.name
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
        for bucket in (self.source, self.destination):
            if bucket.request("get_bucket_versioning", Bucket=bucket.name).get("Status") != "Enabled":
                return f"versioning is not Enabled on {bucket.name}: S3 replicates between versioned buckets only"
        self.coverage = coverage
        return ""

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
