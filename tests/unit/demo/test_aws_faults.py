"""Scripted faults of the simulated AWS, as a boto3 client meets them."""

from __future__ import annotations

import time
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from airflow_lockprovider.demo.aws import AwsSimulator
from airflow_lockprovider.demo.aws.faults import DISCONNECT, Fault
from tests.simulated_aws import HERE, SOURCE, THERE, Lake, make_bucket

ONCE: dict[str, Any] = {"retries": {"mode": "standard", "total_max_attempts": 1}}


@pytest.fixture
def s3(aws: AwsSimulator, lake: Lake) -> Any:
    lake.lay(3, buckets=(SOURCE,))
    return aws.client("s3", HERE, **ONCE)


def _answers(s3: Any, count: int, key: str = "out/part-00000") -> list[int]:
    seen = []
    for _ in range(count):
        try:
            seen.append(s3.head_object(Bucket=SOURCE, Key=key)["ResponseMetadata"]["HTTPStatusCode"])
        except ClientError as error:
            seen.append(error.response["ResponseMetadata"]["HTTPStatusCode"])
    return seen


def test_only_the_chosen_requests_of_an_operation_fail(aws: AwsSimulator, s3: Any) -> None:
    aws.fault("s3.HeadObject", "SlowDown", skip=2, times=2)
    assert _answers(s3, 6) == [200, 200, 503, 503, 200, 200]
    assert s3.list_objects_v2(Bucket=SOURCE)["KeyCount"] == 3
    assert aws.requests()["s3"]["HeadObject"] == 6


def test_a_fault_can_be_about_one_key_one_region_or_a_whole_service(aws: AwsSimulator, s3: Any) -> None:
    aws.fault("s3.*", "AccessDenied", where="^lake/out/part-00001$")
    assert _answers(s3, 1) + _answers(s3, 1, "out/part-00001") == [200, 403]
    aws.fault("s3.*", "AccessDenied", region=THERE)
    assert _answers(s3, 1) == [200]
    assert _answers(aws.client("s3", THERE, **ONCE), 1) == [403]
    aws.clear_faults()
    assert _answers(s3, 1, "out/part-00001") == [200]


@pytest.mark.parametrize(
    ("code", "status"), [("SlowDown", 503), ("AccessDenied", 403), ("ExpiredToken", 400), ("InternalError", 500)]
)
def test_an_error_has_the_status_that_aws_documents(aws: AwsSimulator, s3: Any, code: str, status: int) -> None:
    aws.fault("s3.ListObjectsV2", code)
    with pytest.raises(ClientError) as caught:
        s3.list_objects_v2(Bucket=SOURCE)
    answer = caught.value.response
    assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)


def test_the_answer_to_a_head_has_no_error_code_in_it(aws: AwsSimulator, s3: Any) -> None:
    aws.fault("s3.HeadObject", "ExpiredToken")
    with pytest.raises(ClientError) as caught:
        s3.head_object(Bucket=SOURCE, Key="out/part-00000")
    assert caught.value.response["Error"]["Code"] == "400"


def test_a_json_service_fails_for_the_chosen_body_only(aws: AwsSimulator) -> None:
    glue = aws.client("glue", HERE, **ONCE)
    for name in ("one", "two"):
        glue.create_database(DatabaseInput={"Name": name})
    aws.fault("glue.GetDatabase", "ThrottlingException", where='"two"')
    assert glue.get_database(Name="one")["Database"]["Name"] == "one"
    with pytest.raises(glue.exceptions.ClientError, match="ThrottlingException"):
        glue.get_database(Name="two")


def test_a_connection_can_end_without_an_answer(aws: AwsSimulator, s3: Any) -> None:
    aws.fault("s3.HeadObject", DISCONNECT, times=1)
    with pytest.raises(ConnectionClosedError):
        s3.head_object(Bucket=SOURCE, Key="out/part-00000")
    assert _answers(s3, 1) == [200]


def test_a_retrying_client_gets_over_it(aws: AwsSimulator, lake: Lake) -> None:
    lake.lay(1, buckets=(SOURCE,))
    aws.fault("s3.HeadObject", "SlowDown", times=1)
    patient = aws.client("s3", HERE, retries={"mode": "standard", "total_max_attempts": 2})
    assert _answers(patient, 1) == [200]
    assert aws.requests()["s3"]["HeadObject"] == 2


def test_one_operation_can_be_slow_alone(aws: AwsSimulator, s3: Any) -> None:
    aws.fault("s3.ListObjectsV2", latency=0.3)
    began = time.monotonic()
    _answers(s3, 1)
    between = time.monotonic()
    s3.list_objects_v2(Bucket=SOURCE)
    assert between - began < 0.3 <= time.monotonic() - between


def test_reset_ends_all_faults(aws: AwsSimulator) -> None:
    aws.fault("s3.*", "SlowDown")
    aws.reset()
    make_bucket(aws, "another", HERE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"operation": "HeadObject", "code": "SlowDown"},
        {"operation": "s3.HeadObject"},
        {"operation": "s3.HeadObject", "code": "SlowDown", "times": 0},
        {"operation": "s3.HeadObject", "code": "SlowDown", "where": "("},
    ],
)
def test_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"operation|needs|times|regular"):
        Fault(**wrong)
