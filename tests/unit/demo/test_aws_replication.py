"""Simulated S3 cross-region replication."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_lockprovider.demo.aws import AwsSimulator

HERE, THERE, ELSEWHERE = "eu-central-1", "us-west-2", "ap-south-1"
SOURCE, REPLICA, SECOND_REPLICA = "source-bucket", "replica-bucket", "second-replica"


@pytest.fixture
def aws() -> Iterator[AwsSimulator]:
    with AwsSimulator(replication_delay=0.05, replication_jitter=0.05) as simulator:
        for bucket, region in ((SOURCE, HERE), (REPLICA, THERE), (SECOND_REPLICA, ELSEWHERE)):
            s3 = simulator.client("s3", region)
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})
            _set_versioning(s3, bucket, "Enabled")
        yield simulator


@pytest.fixture
def here(aws: AwsSimulator) -> Any:
    return aws.client("s3", HERE)


@pytest.fixture
def there(aws: AwsSimulator) -> Any:
    return aws.client("s3", THERE)


def _set_versioning(s3: Any, bucket: str, status: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})


def _rule(destination: str = REPLICA, **more: Any) -> dict[str, Any]:
    rule = {
        "ID": f"to-{destination}",
        "Status": "Enabled",
        "Priority": 1,
        "Filter": {"Prefix": ""},
        "DeleteMarkerReplication": {"Status": "Disabled"},
        "Destination": {"Bucket": f"arn:aws:s3:::{destination}"},
    }
    return rule | more


def _replicate(s3: Any, *rules: dict[str, Any]) -> None:
    s3.put_bucket_replication(
        Bucket=SOURCE,
        ReplicationConfiguration={"Role": "arn:aws:iam::123456789012:role/crr", "Rules": list(rules)},
    )


def _status(s3: Any, key: str, bucket: str = SOURCE) -> str | None:
    status: str | None = s3.head_object(Bucket=bucket, Key=key).get("ReplicationStatus")
    return status


def _until(true: Callable[[], bool], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "did not become true in time"
        time.sleep(0.01)


def test_written_object_is_pending_then_completed_and_the_copy_is_a_replica(
    aws: AwsSimulator, here: Any, there: Any
) -> None:
    aws.configure(replication_stall=".")
    _replicate(here, _rule())
    here.put_object(Bucket=SOURCE, Key="out/part-1", Body=b"one", Metadata={"job": "7"})
    assert _status(here, "out/part-1") == "PENDING"
    with pytest.raises(ClientError, match="404"):
        there.head_object(Bucket=REPLICA, Key="out/part-1")

    aws.configure(replication_stall=None)
    _until(lambda: _status(here, "out/part-1") == "COMPLETED")

    source = here.get_object(Bucket=SOURCE, Key="out/part-1")
    copy = there.get_object(Bucket=REPLICA, Key="out/part-1")
    assert (source["ReplicationStatus"], copy["ReplicationStatus"]) == ("COMPLETED", "REPLICA")
    assert copy["Body"].read() == b"one"
    assert copy["Metadata"] == {"job": "7"}
    for same in ("VersionId", "LastModified", "ETag"):
        assert copy[same] == source[same]


def test_object_outside_the_rule_has_no_status_and_never_arrives(here: Any, there: Any) -> None:
    _replicate(here, _rule(Filter={"Prefix": "out/"}))
    here.put_object(Bucket=SOURCE, Key="other/part-1", Body=b"x")
    here.put_object(Bucket=SOURCE, Key="out/part-1", Body=b"x")
    _until(lambda: _status(here, "out/part-1") == "COMPLETED")
    assert _status(here, "other/part-1") is None
    assert [found["Key"] for found in there.list_objects_v2(Bucket=REPLICA)["Contents"]] == ["out/part-1"]


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(_rule(Status="Disabled"), id="disabled"),
        pytest.param(_rule(Filter={"And": {"Prefix": "out/", "Tags": [{"Key": "keep", "Value": "no"}]}}), id="tags"),
        pytest.param(_rule(Filter={"Tag": {"Key": "keep", "Value": "no"}}), id="tag"),
    ],
)
def test_rule_that_does_not_select_the_object_gives_no_status(here: Any, rule: dict[str, Any]) -> None:
    _replicate(here, rule)
    here.put_object(Bucket=SOURCE, Key="out/part-1", Body=b"x", Tagging="keep=yes")
    assert _status(here, "out/part-1") is None


def test_prefix_and_tags_together_select(here: Any, there: Any) -> None:
    _replicate(here, _rule(Filter={"And": {"Prefix": "out/", "Tags": [{"Key": "keep", "Value": "yes"}]}}))
    here.put_object(Bucket=SOURCE, Key="out/part-1", Body=b"x", Tagging="keep=yes")
    _until(lambda: _status(here, "out/part-1") == "COMPLETED")
    assert there.get_object_tagging(Bucket=REPLICA, Key="out/part-1")["TagSet"] == [{"Key": "keep", "Value": "yes"}]


def test_kms_object_is_replicated_only_when_the_rule_says_so(aws: AwsSimulator, here: Any) -> None:
    aws.configure(replication_delay=60)
    encrypted = {"Bucket": SOURCE, "Body": b"x", "ServerSideEncryption": "aws:kms"}
    _replicate(here, _rule())
    here.put_object(Key="not-selected", **encrypted)
    _replicate(here, _rule(SourceSelectionCriteria={"SseKmsEncryptedObjects": {"Status": "Enabled"}}))
    here.put_object(Key="selected", **encrypted)
    assert _status(here, "not-selected") is None
    assert _status(here, "selected") == "PENDING"


def test_objects_older_than_the_rule_are_not_replicated(here: Any) -> None:
    here.put_object(Bucket=SOURCE, Key="old", Body=b"x")
    _replicate(here, _rule())
    assert _status(here, "old") is None


def test_copied_and_multipart_objects_are_replicated_too(aws: AwsSimulator, here: Any, there: Any) -> None:
    aws.configure(replication_stall="large")
    here.put_object(Bucket=SOURCE, Key="before-the-rule", Body=b"copied")
    _replicate(here, _rule())
    here.copy_object(Bucket=SOURCE, Key="copy", CopySource={"Bucket": SOURCE, "Key": "before-the-rule"})
    upload = here.create_multipart_upload(Bucket=SOURCE, Key="large")["UploadId"]
    part = here.upload_part(Bucket=SOURCE, Key="large", UploadId=upload, PartNumber=1, Body=b"large")
    assert _status(here, "copy")
    assert [each["key"] for each in aws.replication_journal()] == ["copy"]
    here.complete_multipart_upload(
        Bucket=SOURCE,
        Key="large",
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    assert _status(here, "large") == "PENDING"
    aws.configure(replication_stall=None)
    for key, content in (("copy", b"copied"), ("large", b"large")):
        _until(lambda key=key: _status(here, key) == "COMPLETED")
        assert there.get_object(Bucket=REPLICA, Key=key)["Body"].read() == content


def test_with_two_destinations_the_source_is_completed_only_when_both_have_it(
    aws: AwsSimulator, here: Any, there: Any
) -> None:
    aws.configure(replication_stall=f"^{SECOND_REPLICA}/")
    _replicate(here, _rule(), _rule(SECOND_REPLICA, Priority=2))
    here.put_object(Bucket=SOURCE, Key="k", Body=b"x")
    _until(lambda: "Contents" in there.list_objects_v2(Bucket=REPLICA))
    assert _status(here, "k") == "PENDING"
    aws.configure(replication_stall=None)
    _until(lambda: _status(here, "k") == "COMPLETED")
    assert _status(aws.client("s3", ELSEWHERE), "k", SECOND_REPLICA) == "REPLICA"


def test_one_failed_destination_makes_the_source_failed(aws: AwsSimulator, here: Any, there: Any) -> None:
    aws.configure(replication_fail=f"^{SECOND_REPLICA}/")
    _replicate(here, _rule(), _rule(SECOND_REPLICA, Priority=2))
    here.put_object(Bucket=SOURCE, Key="k", Body=b"x")
    _until(lambda: _status(here, "k") == "FAILED")
    _until(lambda: "Contents" in there.list_objects_v2(Bucket=REPLICA))
    assert _status(here, "k") == "FAILED"


def test_stalled_object_stays_pending_while_others_arrive(aws: AwsSimulator, here: Any) -> None:
    aws.configure(replication_stall=r"part-1$")
    _replicate(here, _rule())
    for number in (1, 2):
        here.put_object(Bucket=SOURCE, Key=f"part-{number}", Body=b"x")
    _until(lambda: _status(here, "part-2") == "COMPLETED")
    assert _status(here, "part-1") == "PENDING"


def test_destination_that_loses_versioning_makes_objects_failed(here: Any, there: Any) -> None:
    _replicate(here, _rule())
    _set_versioning(there, REPLICA, "Suspended")
    here.put_object(Bucket=SOURCE, Key="k", Body=b"x")
    _until(lambda: _status(here, "k") == "FAILED")


def test_a_replica_is_not_replicated_further(here: Any, there: Any) -> None:
    there.put_bucket_replication(
        Bucket=REPLICA,
        ReplicationConfiguration={"Role": "arn:aws:iam::123456789012:role/crr", "Rules": [_rule(SOURCE)]},
    )
    _replicate(here, _rule())
    here.put_object(Bucket=SOURCE, Key="k", Body=b"x")
    _until(lambda: _status(here, "k") == "COMPLETED")
    assert len(here.list_object_versions(Bucket=SOURCE)["Versions"]) == 1


def test_late_copy_of_an_older_version_does_not_become_the_newest(aws: AwsSimulator, here: Any, there: Any) -> None:
    _replicate(here, _rule())
    aws.configure(replication_delay=0.3, replication_jitter=0)
    first = here.put_object(Bucket=SOURCE, Key="k", Body=b"old")["VersionId"]
    aws.configure(replication_delay=0)
    second = here.put_object(Bucket=SOURCE, Key="k", Body=b"new")["VersionId"]
    _until(lambda: len(there.list_object_versions(Bucket=REPLICA).get("Versions", [])) == 2)
    assert there.get_object(Bucket=REPLICA, Key="k")["Body"].read() == b"new"
    versions = there.list_object_versions(Bucket=REPLICA)["Versions"]
    assert [(each["VersionId"], each["IsLatest"]) for each in versions] == [(second, True), (first, False)]


def test_replica_survives_the_deletion_of_the_source(here: Any, there: Any) -> None:
    _replicate(here, _rule())
    version = here.put_object(Bucket=SOURCE, Key="k", Body=b"kept")["VersionId"]
    _until(lambda: _status(here, "k") == "COMPLETED")
    here.delete_object(Bucket=SOURCE, Key="k", VersionId=version)
    assert there.get_object(Bucket=REPLICA, Key="k")["Body"].read() == b"kept"


def test_stored_rules_are_answered_as_they_were_put(here: Any) -> None:
    rules = [
        _rule(Filter={"Prefix": "out/"}),
        _rule(
            SECOND_REPLICA,
            Priority=2,
            Status="Disabled",
            Filter={"And": {"Prefix": "in/", "Tags": [{"Key": "keep", "Value": "yes"}]}},
            SourceSelectionCriteria={"SseKmsEncryptedObjects": {"Status": "Enabled"}},
            DeleteMarkerReplication={"Status": "Disabled"},
        ),
    ]
    _replicate(here, *rules)
    assert here.get_bucket_replication(Bucket=SOURCE)["ReplicationConfiguration"]["Rules"] == rules


def test_rule_of_the_first_kind_keeps_its_prefix_and_has_no_priority(aws: AwsSimulator, here: Any) -> None:
    aws.configure(replication_delay=60)
    rule = {"ID": "v1", "Prefix": "out/", "Status": "Enabled", "Destination": {"Bucket": f"arn:aws:s3:::{REPLICA}"}}
    _replicate(here, rule)
    assert here.get_bucket_replication(Bucket=SOURCE)["ReplicationConfiguration"]["Rules"] == [rule]
    here.put_object(Bucket=SOURCE, Key="out/k", Body=b"x")
    here.put_object(Bucket=SOURCE, Key="k", Body=b"x")
    assert (_status(here, "out/k"), _status(here, "k")) == ("PENDING", None)


def test_bucket_without_rules_says_so(here: Any) -> None:
    with pytest.raises(ClientError, match="ReplicationConfigurationNotFoundError"):
        here.get_bucket_replication(Bucket=SOURCE)


def test_rule_to_an_unversioned_bucket_is_refused(here: Any, there: Any) -> None:
    _set_versioning(there, REPLICA, "Suspended")
    with pytest.raises(ClientError, match=f"must have versioning enabled: {REPLICA}"):
        _replicate(here, _rule())


def test_keys_that_need_quoting_are_replicated(here: Any, there: Any) -> None:
    _replicate(here, _rule())
    keys = ["a b+c%20d/é&ü=1.csv", "ds=2024-01-01/part 0"]
    for key in keys:
        here.put_object(Bucket=SOURCE, Key=key, Body=b"x")
    for key in keys:
        _until(lambda key=key: _status(here, key) == "COMPLETED")
        assert _status(there, key, REPLICA) == "REPLICA"


def test_journal_tells_when_each_copy_arrived(aws: AwsSimulator, here: Any) -> None:
    _replicate(here, _rule())
    aws.configure(replication_fail="bad$", replication_stall=".")
    before = time.time()
    version = here.put_object(Bucket=SOURCE, Key="good", Body=b"four")["VersionId"]
    here.put_object(Bucket=SOURCE, Key="bad", Body=b"x")
    assert [each["status"] for each in aws.replication_journal()] == ["PENDING", "PENDING"]
    aws.configure(replication_stall=None)
    _until(lambda: (_status(here, "good"), _status(here, "bad")) == ("COMPLETED", "FAILED"))
    good, bad = aws.replication_journal()
    assert before <= good["put_at"] < good["replicated_at"] <= time.time()
    assert good["put_at_iso"] < good["replicated_at_iso"]
    assert {name: good[name] for name in ("source", "destination", "key", "version_id", "size", "status")} == {
        "source": SOURCE,
        "destination": REPLICA,
        "key": "good",
        "version_id": version,
        "size": 4,
        "status": "COMPLETED",
    }
    assert (bad["status"], bad["replicated_at"], bad["replicated_at_iso"]) == ("FAILED", None, None)


def _newest_is_a_marker(s3: Any, key: str, bucket: str = REPLICA) -> bool:
    markers = s3.list_object_versions(Bucket=bucket, Prefix=key).get("DeleteMarkers", [])
    return any(marker["IsLatest"] for marker in markers)


def _v1_rule() -> dict[str, Any]:
    return {"ID": "v1", "Prefix": "", "Status": "Enabled", "Destination": {"Bucket": f"arn:aws:s3:::{REPLICA}"}}


@pytest.mark.parametrize(
    ("rule", "copied"),
    [
        pytest.param(_rule(), False, id="not by default"),
        pytest.param(_rule(DeleteMarkerReplication={"Status": "Enabled"}), True, id="when the rule says so"),
        pytest.param(_v1_rule(), True, id="with a rule of the first kind"),
    ],
)
def test_delete_markers_are_copied_as_the_rule_says(
    aws: AwsSimulator, here: Any, there: Any, rule: dict[str, Any], copied: bool
) -> None:
    _replicate(here, rule)
    for key in ("one", "two", "three"):
        here.put_object(Bucket=SOURCE, Key=key, Body=b"x")
        _until(lambda key=key: _status(here, key) == "COMPLETED")
    here.delete_object(Bucket=SOURCE, Key="one")
    here.delete_objects(Bucket=SOURCE, Delete={"Objects": [{"Key": "two"}]})
    version = here.list_object_versions(Bucket=SOURCE, Prefix="three")["Versions"][0]["VersionId"]
    here.delete_object(Bucket=SOURCE, Key="three", VersionId=version)
    here.put_object(Bucket=SOURCE, Key="last", Body=b"x")
    _until(lambda: all(each["status"] == "COMPLETED" for each in aws.replication_journal()))
    assert [_newest_is_a_marker(there, key) for key in ("one", "two", "three")] == [copied, copied, False]
