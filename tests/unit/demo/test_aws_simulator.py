"""The simulated AWS as a whole: counting, scripting, its process, and what later users need of moto."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_lockprovider.demo.aws import AwsSimulator

REGION, OTHER_REGION = "eu-central-1", "us-west-2"
BUCKET = "a-bucket"


@pytest.fixture
def aws() -> Iterator[AwsSimulator]:
    with AwsSimulator() as simulator:
        yield simulator


@pytest.fixture
def s3(aws: AwsSimulator) -> Any:
    client = aws.client("s3", REGION)
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    aws.reset("requests")
    return client


def _control(url: str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    body = None if changes is None else json.dumps(changes).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data=body)) as answer:
        report: dict[str, Any] = json.load(answer)
    return report


def test_requests_are_counted_by_service_and_operation(aws: AwsSimulator, s3: Any) -> None:
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"x", Tagging="a=b")
    s3.copy_object(Bucket=BUCKET, Key="k2", CopySource={"Bucket": BUCKET, "Key": "k"})
    s3.head_object(Bucket=BUCKET, Key="k")
    s3.head_object(Bucket=BUCKET, Key="k")
    s3.get_object(Bucket=BUCKET, Key="k")
    s3.get_object_tagging(Bucket=BUCKET, Key="k")
    s3.list_objects_v2(Bucket=BUCKET)
    s3.list_object_versions(Bucket=BUCKET)
    s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "k2"}]})
    aws.client("glue", OTHER_REGION).get_databases()
    assert aws.requests() == {
        "glue": {"GetDatabases": 1},
        "s3": {
            "PutBucketVersioning": 1,
            "PutObject": 1,
            "CopyObject": 1,
            "HeadObject": 2,
            "GetObject": 1,
            "GetObjectTagging": 1,
            "ListObjectsV2": 1,
            "ListObjectVersions": 1,
            "DeleteObjects": 1,
        },
    }


def test_another_process_can_script_and_read_the_simulation(aws: AwsSimulator, s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"x")
    report = _control(aws.control_url, {"replication_delay": 1.5, "replication_stall": "part"})
    assert report["settings"]["replication_delay"] == 1.5
    assert report["settings"]["replication_stall"] == "part"
    assert report["requests"] == {"s3": {"PutObject": 1}}
    assert report["replication_journal"] == []
    assert _control(aws.control_url, {"reset": "requests"})["requests"] == {}
    assert s3.head_object(Bucket=BUCKET, Key="k")["ContentLength"] == 1
    report = _control(aws.control_url, {"reset": True, "latency": 0.01})
    assert (report["settings"]["replication_delay"], report["settings"]["latency"]) == (0.2, 0.01)
    with pytest.raises(ClientError, match="404"):
        s3.head_bucket(Bucket=BUCKET)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"replication_dely": 1}, "unknown setting replication_dely"),
        ({"replication_fail": "("}, "is not a regular expression"),
        ({"latency": -1}, "latency=-1 must be a number, 0 or more"),
        ({"reset": "some"}, "say 'requests' or 'all'"),
    ],
)
def test_nonsense_is_refused_by_name_and_changes_nothing(
    aws: AwsSimulator, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        _control(aws.control_url, changes)
    assert reason in json.load(caught.value)["error"]
    assert _control(aws.control_url)["settings"] == _control(aws.control_url, {"reset": True})["settings"]


def test_scripted_errors_reach_the_client_until_they_are_taken_away(aws: AwsSimulator, s3: Any) -> None:
    once = aws.client("s3", REGION, retries={"total_max_attempts": 1})
    aws.configure(request_errors={"s3.ListObjectsV2": "SlowDown", "s3.HeadObject": "AccessDenied"})
    with pytest.raises(ClientError, match="SlowDown"):
        once.list_objects_v2(Bucket=BUCKET)
    with pytest.raises(ClientError, match="403"):
        once.head_object(Bucket=BUCKET, Key="k")
    aws.configure(request_errors=None)
    assert once.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 0


def test_a_second_simulator_in_one_process_is_refused_and_the_first_leaves_nothing_behind() -> None:
    with AwsSimulator() as first:
        first.client("s3", "us-east-1").create_bucket(Bucket=BUCKET)
        with pytest.raises(RuntimeError, match="already runs in this process"):
            AwsSimulator().start()
    with AwsSimulator() as second:
        assert second.client("s3", "us-east-1").list_buckets()["Buckets"] == []
    with pytest.raises(RuntimeError, match="not running"):
        _ = second.endpoint_url


def test_process_says_when_it_is_ready_and_ends_cleanly() -> None:
    ends = (signal.SIGTERM, signal.SIGINT)
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "airflow_lockprovider.demo.aws", "--settings", '{"replication_delay": 7}'],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"LOCKPROVIDER_DEMO_WAREHOUSES": '{"eu-central-1": "dbname=nowhere"}'},
        )
        for _ in ends
    ]
    try:
        for process, end in zip(processes, ends, strict=True):
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("simulated AWS is ready at http://127.0.0.1:")
            assert _control(f"{line.split()[-1]}/_simulation")["settings"]["replication_delay"] == 7
            process.send_signal(end)
            assert process.wait(timeout=10) == 0
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_conditional_put_keeps_the_first_writer(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"first", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket=BUCKET, Key="k", Body=b"second", IfNoneMatch="*")
    assert s3.get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"first"


def test_listing_pages_in_key_order_and_starts_after_a_key(s3: Any) -> None:
    for number in range(7):
        s3.put_object(Bucket=BUCKET, Key=f"out/{number}", Body=b"x")
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=BUCKET, Prefix="out/", StartAfter="out/1", PaginationConfig={"PageSize": 2}
    )
    assert [[each["Key"] for each in page["Contents"]] for page in pages] == [
        ["out/2", "out/3"],
        ["out/4", "out/5"],
        ["out/6"],
    ]


def test_versions_and_delete_markers_are_listed_newest_first(s3: Any) -> None:
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    ids = [s3.put_object(Bucket=BUCKET, Key="k", Body=body)["VersionId"] for body in (b"1", b"2")]
    listed = s3.list_object_versions(Bucket=BUCKET)
    assert [(each["VersionId"], each["IsLatest"]) for each in listed["Versions"]] == [
        (ids[1], True),
        (ids[0], False),
    ]
    s3.delete_object(Bucket=BUCKET, Key="k")
    listed = s3.list_object_versions(Bucket=BUCKET)
    assert [each["IsLatest"] for each in listed["DeleteMarkers"]] == [True]
    assert [each["IsLatest"] for each in listed["Versions"]] == [False, False]


def test_event_that_matches_a_rule_arrives_in_its_queue(aws: AwsSimulator) -> None:
    sqs, events = aws.client("sqs", REGION), aws.client("events", REGION)
    queue = sqs.create_queue(QueueName="alerts")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = json.dumps({"source": ["airflow.lockprovider"], "detail-type": ["Airflow Task Failed"]})
    events.put_rule(Name="failures", EventPattern=pattern, State="ENABLED")
    events.put_targets(Rule="failures", Targets=[{"Id": "queue", "Arn": arn}])
    entry = {"Source": "airflow.lockprovider", "DetailType": "Airflow Task Failed", "Detail": '{"task": "load"}'}
    answer = events.put_events(Entries=[entry, entry | {"DetailType": "Airflow Task Recovered"}])
    assert answer["FailedEntryCount"] == 0
    messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    assert [json.loads(each["Body"])["detail"] for each in messages] == [{"task": "load"}]
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=messages[0]["ReceiptHandle"])
