"""The claims of the simulation, against a real account: only when somebody says which buckets.

``LOCKPROVIDER_TEST_AWS=source-bucket,replica-bucket`` and AWS credentials in the environment. Both buckets are
versioned, and a rule replicates what is under ``lockprovider-test/`` from the first to the second.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_lockprovider.readiness import write_manifest
from airflow_lockprovider.readiness.manifest_probe import ManifestProbe
from airflow_lockprovider.readiness.manifest_writing import ManifestConflict
from airflow_lockprovider.readiness.replication import ReplicationProbe
from airflow_lockprovider.readiness.verdict import Status

BUCKETS = os.environ.get("LOCKPROVIDER_TEST_AWS", "")

pytestmark = [
    pytest.mark.skipif(
        BUCKETS.count(",") != 1,
        reason="LOCKPROVIDER_TEST_AWS=source-bucket,replica-bucket is not set: nothing is tested against a real AWS",
    ),
    pytest.mark.deep,
]
OBJECTS = 20
MINUTES = 20


@pytest.fixture(scope="module")
def account() -> Iterator[tuple[Any, Any, str, str, str]]:
    """Clients and names of both buckets, and a prefix of our own, which is emptied at the end."""
    import boto3

    source, replica = BUCKETS.split(",")
    anywhere = boto3.client("s3")
    clients = [
        boto3.client("s3", region_name=anywhere.head_bucket(Bucket=bucket)["BucketRegion"])
        for bucket in (source, replica)
    ]
    prefix = f"lockprovider-test/{uuid.uuid4().hex}/"
    yield clients[0], clients[1], source, replica, prefix
    for client, bucket in zip(clients, (source, replica), strict=True):
        listed = client.list_object_versions(Bucket=bucket, Prefix=prefix)
        for each in listed.get("Versions", []) + listed.get("DeleteMarkers", []):
            client.delete_object(Bucket=bucket, Key=each["Key"], VersionId=each["VersionId"])


def _until_ready(probe: Any) -> Any:
    verdict = probe.begin()
    end = time.monotonic() + 60 * MINUTES
    while verdict.status is Status.WAIT and time.monotonic() < end:
        time.sleep(5)
        verdict = probe.begin() if probe.must_begin else probe.step()
    return verdict


def test_copies_arrive_with_their_version_ids_and_a_second_manifest_is_refused(account: Any) -> None:
    here, there, source, replica, prefix = account
    for number in range(OBJECTS):
        here.put_object(Bucket=source, Key=f"{prefix}a b+{number:02d}é.csv", Body=b"x" * number)
    assert here.head_object(Bucket=source, Key=f"{prefix}a b+00é.csv")["ReplicationStatus"] in ("PENDING", "COMPLETED")
    key = f"{prefix}_MANIFEST.json"
    write_manifest(here, source, key, prefix=prefix, run_id="first")
    assert write_manifest(here, source, key, prefix=prefix, run_id="first").was_there
    here.put_object(Bucket=source, Key=f"{prefix}later", Body=b"x")
    with pytest.raises(ManifestConflict, match="in run first"):
        write_manifest(here, source, key, prefix=prefix, run_id="second")

    verdict = _until_ready(
        ReplicationProbe(
            {"source": here, "destination": there},
            source_bucket=source,
            destination_bucket=replica,
            prefix=prefix,
            identity=("key", "size", "version_id"),
        )
    )
    assert (verdict.status, verdict.expected) == (Status.READY, OBJECTS + 2)
    waited = _until_ready(
        ManifestProbe({"s3": there}, bucket=replica, manifest=key, identity=("key", "size", "version_id"))
    )
    assert (waited.status, waited.expected) == (Status.READY, OBJECTS)
    assert there.head_object(Bucket=replica, Key=key)["ReplicationStatus"] == "REPLICA"
