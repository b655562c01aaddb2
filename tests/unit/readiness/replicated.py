"""A probe between two buckets in memory, and names for its objects."""

from __future__ import annotations

from typing import Any

from fake_aws import FakeS3

from airflow_lockprovider.readiness.replication import ReplicationProbe


def probe_of(source: FakeS3, replica: FakeS3, **settings: Any) -> ReplicationProbe:
    return ReplicationProbe(
        {"source": source, "destination": replica},
        **{"source_bucket": "lake", "destination_bucket": "replica", "prefix": "out/", **settings},
    )


def keys(count: int) -> list[str]:
    return [f"out/part-{at:05d}" for at in range(count)]
