"""A simulated AWS for any test: the fixtures ``aws`` and ``lake``. Imports of moto wait until a test asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow_lockprovider.demo.aws import AwsSimulator

HERE, THERE = "eu-central-1", "us-west-2"
SOURCE, REPLICA = "lake", "lake-replica"


@cache
def _shared_loader() -> Any:
    from botocore.loaders import create_loader

    return create_loader()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsSimulator]:
    """Empty, with quick copies (0.05 to 0.1 s): ``aws.configure()``, ``aws.fault()``, ``aws.requests()``."""
    from airflow_lockprovider.demo.aws import AwsSimulator

    # A loader of its own reads megabytes of JSON for every client of every session, up to 0.3 s.
    monkeypatch.setattr("botocore.session.create_loader", lambda *_: _shared_loader())
    with AwsSimulator(replication_delay=0.05, replication_jitter=0.05) as simulator:
        yield simulator


@dataclass
class Lake:
    """A bucket and its replica in another region, both versioned; what is under ``out/`` is replicated."""

    aws: AwsSimulator
    source: Any
    """An S3 client in the source's region."""
    replica: Any
    """An S3 client in the replica's region."""

    def write(self, count: int, *, first: int = 0, prefix: str = "out/") -> list[str]:
        """``part-00000`` and so on, of different sizes; replicated as the rules say. The keys."""
        keys = [f"{prefix}part-{number:05d}" for number in range(first, first + count)]
        for number, key in enumerate(keys, first):
            self.source.put_object(Bucket=SOURCE, Key=key, Body=b"x" * (number % 50 + 1))
        return keys

    def lay(
        self, count: int, *, first: int = 0, prefix: str = "out/", buckets: tuple[str, ...] = (SOURCE, REPLICA)
    ) -> None:
        """The same, put into moto without a request: quick for thousands, unknown to replication (no status), the
        same size but another version id in each bucket."""
        from moto.core.models import DEFAULT_ACCOUNT_ID
        from moto.s3.models import s3_backends

        backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        for bucket in buckets:
            for number in range(first, first + count):
                backend.put_object(bucket, f"{prefix}part-{number:05d}", b"x" * (number % 50 + 1))

    def replicate(self, *rules: dict[str, Any]) -> None:
        """Put these rules in place of all others; see `rule`."""
        configuration = {"Role": "arn:aws:iam::123456789012:role/crr", "Rules": list(rules)}
        self.source.put_bucket_replication(Bucket=SOURCE, ReplicationConfiguration=configuration)


def rule(destination: str = REPLICA, *, prefix: str = "out/", **more: Any) -> dict[str, Any]:
    """A replication rule of the second kind (with a Filter)."""
    return {
        "ID": f"to-{destination}",
        "Status": "Enabled",
        "Priority": 1,
        "Filter": {"Prefix": prefix},
        "DeleteMarkerReplication": {"Status": "Disabled"},
        "Destination": {"Bucket": f"arn:aws:s3:::{destination}"},
        **more,
    }


def make_bucket(aws: AwsSimulator, bucket: str, region: str, *, versioning: str = "Enabled") -> Any:
    """Create it; a client in its region."""
    s3 = aws.client("s3", region)
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": versioning})
    return s3


def set_connections(monkeypatch: pytest.MonkeyPatch, endpoint_url: str) -> None:
    """The Airflow connections ``aws_here`` and ``aws_there``, for the two regions."""
    for name, region in (("AWS_HERE", HERE), ("AWS_THERE", THERE)):
        connection = {
            "conn_type": "aws",
            "login": "simulated",
            "password": "simulated",
            "extra": {"endpoint_url": endpoint_url, "region_name": region},
        }
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))


@pytest.fixture
def lake(aws: AwsSimulator, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """Two buckets, a rule on ``out/``, and the Airflow connections; the requests of making it are not counted."""
    set_connections(monkeypatch, aws.endpoint_url)
    made = Lake(aws, make_bucket(aws, SOURCE, HERE), make_bucket(aws, REPLICA, THERE))
    made.replicate(rule())
    aws.reset("requests")
    return made
