"""The sensors and their trigger against the simulated AWS, through Airflow connections and real boto3 clients."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

from airflow_lockprovider.demo.aws import AwsSimulator
from airflow_lockprovider.readiness.errors import DataWillNotArrive, ReadinessMisconfigured
from airflow_lockprovider.sensors import S3ReplicationSensor
from airflow_lockprovider.triggers import settle

from .sensor_task import SensorTask, crawl, first_event

HERE, THERE = "eu-central-1", "us-west-2"
SOURCE, REPLICA = "lake", "lake-replica"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsSimulator]:
    with AwsSimulator(replication_delay=0.2, replication_jitter=0.1) as simulator:
        for name, region in (("AWS_HERE", HERE), ("AWS_THERE", THERE)):
            connection = {
                "conn_type": "aws",
                "login": "simulated",
                "password": "simulated",
                "extra": {"endpoint_url": simulator.endpoint_url, "region_name": region},
            }
            monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))
        yield simulator


@pytest.fixture
def lake(aws: AwsSimulator) -> Any:
    """A client for the source bucket, whose objects under out/ are replicated."""
    for bucket, region in ((SOURCE, HERE), (REPLICA, THERE)):
        s3 = aws.client("s3", region)
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3 = aws.client("s3", HERE)
    rule = {
        "ID": "out",
        "Status": "Enabled",
        "Priority": 1,
        "Filter": {"Prefix": "out/"},
        "DeleteMarkerReplication": {"Status": "Disabled"},
        "Destination": {"Bucket": f"arn:aws:s3:::{REPLICA}"},
    }
    configuration = {"Role": "arn:aws:iam::123456789012:role/crr", "Rules": [rule]}
    s3.put_bucket_replication(Bucket=SOURCE, ReplicationConfiguration=configuration)
    return s3


@pytest.fixture
def glue(aws: AwsSimulator) -> Any:
    client = aws.client("glue", HERE)
    client.create_database(DatabaseInput={"Name": "db"})
    targets = {"S3Targets": [{"Path": f"s3://{SOURCE}/out"}]}
    client.create_crawler(Name="sales", Role="r", DatabaseName="db", Targets=targets)
    return client


def write(s3: Any, count: int, *, first: int = 0) -> None:
    for number in range(first, first + count):
        s3.put_object(Bucket=SOURCE, Key=f"out/part-{number:05d}", Body=b"x" * (number % 50 + 1))


def replication(**settings: Any) -> S3ReplicationSensor:
    return S3ReplicationSensor(
        **{
            "task_id": "wait",
            "source_bucket": SOURCE,
            "destination_bucket": REPLICA,
            "prefix": "out/",
            "source_conn_id": "aws_here",
            "destination_conn_id": "aws_there",
            "poke_interval": (0.1, 0.3),
            "timeout": 20,
            **settings,
        }
    )


@pytest.fixture(autouse=True)
def _settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "settle_time", lambda: 0.0)


def s3_requests(aws: AwsSimulator) -> dict[str, int]:
    return aws.requests().get("s3", {})


def test_waits_for_the_copies_and_returns_the_verdict(aws: AwsSimulator, lake: Any) -> None:
    write(lake, 50)
    verdict = SensorTask(replication()).run()
    assert (verdict["status"], verdict["expected"], verdict["arrived"]) == ("READY", 50, 50)
    replica = aws.client("s3", THERE)
    assert replica.list_objects_v2(Bucket=REPLICA)["KeyCount"] == 50


def test_copies_that_are_there_already_cost_five_requests_and_no_deferral(aws: AwsSimulator, lake: Any) -> None:
    write(lake, 5)
    SensorTask(replication()).run()
    aws.reset("requests")
    task = SensorTask(replication())
    assert task.begin()["status"] == "READY"
    assert sum(s3_requests(aws).values()) == 5


def test_poke_mode_waits_in_the_worker(lake: Any) -> None:
    write(lake, 20)
    assert replication(deferrable=False).execute({"ti": None})["arrived"] == 20  # type: ignore[typeddict-item]


def test_failed_copies_fail_the_task_by_name(aws: AwsSimulator, lake: Any) -> None:
    aws.configure(replication_fail=r"part-0000[37]$")
    write(lake, 50)
    with pytest.raises(DataWillNotArrive, match=r"FAILED for .*out/part-0000[37].*S3 Batch Replication"):
        SensorTask(replication()).run()


def test_a_stalled_copy_is_named_at_the_timeout(aws: AwsSimulator, lake: Any) -> None:
    aws.configure(replication_stall=r"part-00004$")
    write(lake, 50)
    with pytest.raises(AirflowSensorTimeout, match=r"49/50 arrived, 1 pending.*is out/part-00004"):
        SensorTask(replication(timeout=2)).run()


def test_objects_outside_every_rule_fail_the_task_by_name(lake: Any) -> None:
    write(lake, 3)
    lake.put_object(Bucket=SOURCE, Key="other/x", Body=b"1")
    with pytest.raises(DataWillNotArrive, match=r"not eligible.*other/x"):
        SensorTask(replication(prefix="", preflight=False)).run()


def test_without_a_rule_the_task_fails_at_once(aws: AwsSimulator, lake: Any) -> None:
    lake.delete_bucket_replication(Bucket=SOURCE)
    write(lake, 3)
    aws.reset("requests")
    with pytest.raises(ReadinessMisconfigured, match="no replication configuration"):
        SensorTask(replication()).run()
    # The rule, and what was asked side by side with it.
    assert sum(s3_requests(aws).values()) <= 4


def test_an_empty_prefix_is_refused(lake: Any) -> None:
    with pytest.raises(DataWillNotArrive, match="holds 0 objects"):
        SensorTask(replication(prefix="out/nothing/")).run()


def test_a_missing_bucket_is_named(lake: Any) -> None:
    with pytest.raises(ReadinessMisconfigured, match=r"NoSuchBucket.*s3://no-such-lake"):
        SensorTask(replication(source_bucket="no-such-lake")).run()


@pytest.mark.parametrize("change", ["overwritten", "deleted"])
@pytest.mark.parametrize("count", [5, 50])
def test_a_source_that_changes_while_we_wait_fails_the_task(
    aws: AwsSimulator, lake: Any, change: str, count: int
) -> None:
    aws.configure(replication_stall="part-")
    write(lake, count)
    task = SensorTask(replication())
    task.begin()
    if change == "overwritten":
        lake.put_object(Bucket=SOURCE, Key="out/part-00002", Body=b"changed" * 99)
    else:
        lake.delete_object(Bucket=SOURCE, Key="out/part-00002")
    with pytest.raises(DataWillNotArrive, match="the source set changed"):
        task.finish()


def test_2500_keys_cost_a_few_listings_and_no_heads_over_everything(aws: AwsSimulator, lake: Any) -> None:
    # What lies there from before goes straight into moto: only the last keys have to be replicated.
    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    for bucket in (SOURCE, REPLICA):
        for number in range(2495):
            backend.put_object(bucket, f"out/part-{number:05d}", b"x")
    aws.configure(replication_stall="part-")
    write(lake, 5, first=2495)
    aws.reset("requests")
    task = SensorTask(replication())
    task.begin()
    assert s3_requests(aws) == {
        "GetBucketReplication": 1,
        "GetBucketVersioning": 1,
        "GetBucketEncryption": 1,
        "ListObjectsV2": 6,
    }
    aws.reset("requests")
    aws.configure(replication_stall=None)
    verdict = task.finish()
    assert (verdict["status"], verdict["expected"]) == ("READY", 2500)
    asked = s3_requests(aws)
    assert asked["ListObjectsV2"] <= 6
    assert asked.get("HeadObject", 0) <= 60


def test_a_restarted_triggerer_goes_on_with_the_frozen_set(aws: AwsSimulator, lake: Any) -> None:
    aws.configure(replication_stall="part-")
    write(lake, 20)
    task = SensorTask(replication())
    task.begin()

    async def killed_midway() -> None:
        running = asyncio.create_task(anext(task.trigger().run()))
        await asyncio.sleep(0.5)
        running.cancel()

    asyncio.run(killed_midway())
    lake.put_object(Bucket=SOURCE, Key="out/zz-written-later", Body=b"1")
    aws.configure(replication_stall="zz-written-later")
    verdict = task.finish()
    assert (verdict["status"], verdict["expected"]) == ("READY", 20)


def test_throttling_is_waited_out(aws: AwsSimulator, lake: Any) -> None:
    aws.configure(replication_stall="part-")
    write(lake, 20)
    task = SensorTask(replication())
    task.begin()
    aws.configure(replication_stall=None, request_errors={"s3.ListObjectsV2": "InternalError"})

    async def healed_midway() -> Any:
        running = asyncio.create_task(first_event(task.trigger()))
        await asyncio.sleep(0.5)
        aws.configure(request_errors=None)
        return await running

    assert asyncio.run(healed_midway())["verdict"]["status"] == "READY"


def test_a_refused_request_names_the_permission(aws: AwsSimulator, lake: Any) -> None:
    write(lake, 20)
    aws.configure(request_errors={"s3.ListObjectsV2": "AccessDenied"})
    with pytest.raises(ReadinessMisconfigured, match=r"refused 3 times.*allow s3:ListBucket for s3://lake"):
        SensorTask(replication()).run()


def test_the_loop_runs_on_while_aws_is_slow(aws: AwsSimulator, lake: Any) -> None:
    aws.configure(replication_stall=".*")  # the first look must not find everything there
    write(lake, 20)
    task = SensorTask(replication(poke_interval=0.1))
    task.begin()
    aws.configure(replication_stall=None, latency=0.5)

    async def ticks_beside_it() -> int:
        ticks = 0
        running = asyncio.create_task(first_event(task.trigger()))
        while not running.done():
            await asyncio.sleep(0.005)
            ticks += 1
        assert running.result()["verdict"]["status"] == "READY"
        return ticks

    # Were the requests made in the loop, it could tick once between two of them.
    requests = sum(sum(operations.values()) for operations in aws.requests().values())
    ticks = asyncio.run(ticks_beside_it())
    requests = sum(sum(operations.values()) for operations in aws.requests().values()) - requests
    assert requests >= 1
    assert ticks > 5 * requests


def test_a_crawl_is_started_and_waited_for(aws: AwsSimulator, lake: Any, glue: Any) -> None:
    write(lake, 1)
    assert SensorTask(crawl()).run()["status"] == "READY"
    assert aws.requests()["glue"]["StartCrawler"] == 1
    assert glue.get_crawler(Name="sales")["Crawler"]["LastCrawl"]["Status"] == "SUCCEEDED"


@pytest.mark.parametrize("start_lag", [0.0, 0.4])
def test_the_crawl_that_was_running_before_is_never_accepted(
    aws: AwsSimulator, lake: Any, glue: Any, start_lag: float
) -> None:
    write(lake, 1)
    aws.configure(crawl_start_lag=start_lag, crawl_duration=0.8)
    glue.start_crawler(Name="sales")
    started = time.monotonic()
    assert SensorTask(crawl()).run()["status"] == "READY"
    assert time.monotonic() - started >= 1.6 + start_lag
    assert len(glue.list_crawls(CrawlerName="sales")["Crawls"]) == 2


def test_yesterdays_crawl_does_not_count_right_after_the_start(aws: AwsSimulator, lake: Any, glue: Any) -> None:
    write(lake, 1)
    assert SensorTask(crawl()).run()["status"] == "READY"
    aws.configure(crawl_start_lag=0.5, crawl_duration=0.8)
    started = time.monotonic()
    assert SensorTask(crawl()).run()["status"] == "READY"
    assert time.monotonic() - started >= 1.3


def test_a_failed_crawl_fails_the_task_with_its_reason(aws: AwsSimulator, lake: Any, glue: Any) -> None:
    aws.configure(crawl_fail="sales")
    with pytest.raises(DataWillNotArrive, match=r"FAILED: .*crawl_fail.*log /aws-glue/crawlers/sales"):
        SensorTask(crawl()).run()


def test_a_crawl_of_somebody_else_is_waited_for(aws: AwsSimulator, lake: Any, glue: Any) -> None:
    write(lake, 1)
    task = SensorTask(crawl(start=False, after=datetime.now(UTC) - timedelta(seconds=1)))
    task.begin()
    glue.start_crawler(Name="sales")
    assert task.finish()["status"] == "READY"
    assert aws.requests()["glue"]["StartCrawler"] == 1


def test_a_missing_crawler_is_named(glue: Any) -> None:
    with pytest.raises(ReadinessMisconfigured, match="the Glue crawler 'no-such' in eu-central-1"):
        SensorTask(crawl(crawler_name="no-such")).run()
