"""Simulated Glue crawlers, and the amazon provider's own operators against them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from botocore.exceptions import ClientError

from airflow_lockprovider.demo.aws import AwsSimulator

REGION = "us-west-2"
BUCKET = "replica-bucket"
NAME = "flights-crawler"
CONFIG = {
    "Name": NAME,
    "Role": "arn:aws:iam::123456789012:role/glue",
    "DatabaseName": "lake",
    "Targets": {"S3Targets": [{"Path": f"s3://{BUCKET}/out/flights/"}]},
}


@pytest.fixture
def aws() -> Iterator[AwsSimulator]:
    with AwsSimulator(crawl_duration=0.15, crawl_stopping=0.05) as simulator:
        simulator.client("s3", REGION).create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        yield simulator


@pytest.fixture
def glue(aws: AwsSimulator) -> Any:
    client = aws.client("glue", REGION)
    client.create_crawler(**CONFIG)
    return client


@pytest.fixture
def put(aws: AwsSimulator) -> Callable[[str, bytes], None]:
    s3 = aws.client("s3", REGION)
    return lambda key, body: s3.put_object(Bucket=BUCKET, Key=key, Body=body)


@pytest.fixture
def connection(aws: AwsSimulator, monkeypatch: pytest.MonkeyPatch) -> str:
    """The Airflow connection with which operators reach the simulator."""
    monkeypatch.setenv(
        "AIRFLOW_CONN_SIMULATED",
        '{"conn_type": "aws", "login": "simulated", "password": "simulated", '
        f'"extra": {{"endpoint_url": "{aws.endpoint_url}", "region_name": "{REGION}"}}}}',
    )
    return "simulated"


def _parquet(tmp_path: Path, query: str) -> bytes:
    file = tmp_path / "made.parquet"
    duckdb.sql(query).write_parquet(str(file))
    return file.read_bytes()


def _crawler(glue: Any) -> dict[str, Any]:
    crawler: dict[str, Any] = glue.get_crawler(Name=NAME)["Crawler"]
    return crawler


def _crawl(glue: Any) -> dict[str, Any]:
    glue.start_crawler(Name=NAME)
    return _wait(glue)


def _wait(glue: Any) -> dict[str, Any]:
    end = time.monotonic() + 5
    while (crawler := _crawler(glue))["State"] != "READY":
        assert time.monotonic() < end, f"still {crawler['State']}"
        time.sleep(0.01)
    return crawler


def test_crawl_goes_through_all_states_and_last_crawl_speaks_only_of_what_has_ended(
    aws: AwsSimulator, glue: Any
) -> None:
    aws.configure(crawl_stopping=0.3)
    assert "LastCrawl" not in _crawler(glue)
    answer = glue.start_crawler(Name=NAME)
    assert answer.keys() == {"ResponseMetadata"}
    states = []
    while (crawler := _crawler(glue))["State"] != "READY":
        assert "LastCrawl" not in crawler
        states.append(crawler["State"])
    assert list(dict.fromkeys(states)) == ["RUNNING", "STOPPING"]
    first = crawler["LastCrawl"]
    assert first["Status"] == "SUCCEEDED"

    glue.start_crawler(Name=NAME)
    assert _crawler(glue)["LastCrawl"] == first
    assert _wait(glue)["LastCrawl"]["StartTime"] > first["StartTime"]


def test_with_a_start_lag_the_crawler_looks_ready_and_yet_cannot_be_started(aws: AwsSimulator, glue: Any) -> None:
    aws.configure(crawl_start_lag=0.7)
    glue.start_crawler(Name=NAME)
    crawler = _crawler(glue)
    assert (crawler["State"], crawler.get("LastCrawl")) == ("READY", None)
    with pytest.raises(glue.exceptions.CrawlerRunningException):
        glue.start_crawler(Name=NAME)
    while _crawler(glue)["State"] == "READY":
        time.sleep(0.01)
    assert _wait(glue)["LastCrawl"]["Status"] == "SUCCEEDED"


def test_running_crawler_cannot_be_started_updated_or_deleted(aws: AwsSimulator, glue: Any) -> None:
    aws.configure(crawl_duration=60)
    glue.start_crawler(Name=NAME)
    for refused in (
        lambda: glue.start_crawler(Name=NAME),
        lambda: glue.update_crawler(Name=NAME, Description="other"),
        lambda: glue.delete_crawler(Name=NAME),
    ):
        with pytest.raises(glue.exceptions.CrawlerRunningException):
            refused()


def test_stopped_crawl_is_cancelled_and_writes_nothing(
    aws: AwsSimulator, glue: Any, put: Callable[[str, bytes], None]
) -> None:
    aws.configure(crawl_duration=60, crawl_stopping=0.5)
    put("out/flights/a.csv", b"id\n1\n")
    with pytest.raises(glue.exceptions.CrawlerNotRunningException):
        glue.stop_crawler(Name=NAME)
    glue.start_crawler(Name=NAME)
    glue.stop_crawler(Name=NAME)
    with pytest.raises(glue.exceptions.CrawlerStoppingException):
        glue.stop_crawler(Name=NAME)
    assert _wait(glue)["LastCrawl"]["Status"] == "CANCELLED"
    assert glue.get_databases()["DatabaseList"] == []


def test_scripted_failure_and_missing_bucket_end_as_failed_with_the_reason(aws: AwsSimulator, glue: Any) -> None:
    aws.configure(crawl_fail="^flights")
    failed = _crawl(glue)["LastCrawl"]
    assert (failed["Status"], "crawl_fail" in failed["ErrorMessage"]) == ("FAILED", True)
    aws.configure(crawl_fail=None)
    glue.update_crawler(Name=NAME, Targets={"S3Targets": [{"Path": "s3://nowhere/out/"}]})
    failed = _crawl(glue)["LastCrawl"]
    assert (failed["Status"], "no bucket 'nowhere'" in failed["ErrorMessage"]) == ("FAILED", True)


def test_csv_header_becomes_columns_and_key_value_folders_become_partitions(
    glue: Any, put: Callable[[str, bytes], None]
) -> None:
    for hour in ("00", "01"):
        put(f"out/flights/ds=2024-01-01/hr={hour}/part-0.csv", b"ID,Carrier,Delay\n1,AA,2.5\n2,BA,-1\n")
    put("out/flights/_SUCCESS", b"")
    put("out/flights-of-others/part-0.csv", b"not\nours\n")
    _crawl(glue)
    table = glue.get_table(DatabaseName="lake", Name="flights")["Table"]
    assert [(each["Name"], each["Type"]) for each in table["StorageDescriptor"]["Columns"]] == [
        ("id", "bigint"),
        ("carrier", "string"),
        ("delay", "double"),
    ]
    assert [each["Name"] for each in table["PartitionKeys"]] == ["ds", "hr"]
    assert table["StorageDescriptor"]["Location"] == f"s3://{BUCKET}/out/flights/"
    assert (table["Parameters"]["classification"], table["Parameters"]["objectCount"]) == ("csv", "2")
    partitions = glue.get_partitions(DatabaseName="lake", TableName="flights")["Partitions"]
    assert {tuple(each["Values"]): each["StorageDescriptor"]["Location"] for each in partitions} == {
        ("2024-01-01", hour): f"s3://{BUCKET}/out/flights/ds=2024-01-01/hr={hour}/" for hour in ("00", "01")
    }


def test_parquet_schema_becomes_columns(glue: Any, put: Callable[[str, bytes], None], tmp_path: Path) -> None:
    query = "SELECT 1::INT AS n, 'x' AS t, DATE '2024-01-01' AS d, 1.5::DECIMAL(9,2) AS m, now()::TIMESTAMP AS at"
    put("out/flights/part-0.parquet", _parquet(tmp_path, query))
    _crawl(glue)
    table = glue.get_table(DatabaseName="lake", Name="flights")["Table"]
    assert [(each["Name"], each["Type"]) for each in table["StorageDescriptor"]["Columns"]] == [
        ("n", "int"),
        ("t", "string"),
        ("d", "date"),
        ("m", "decimal(9,2)"),
        ("at", "timestamp"),
    ]
    assert table["Parameters"]["classification"] == "parquet"


def test_crawl_misses_what_is_written_after_it_started_and_the_next_one_finds_it(
    aws: AwsSimulator, glue: Any, put: Callable[[str, bytes], None]
) -> None:
    aws.configure(crawl_duration=1)
    put("out/flights/ds=1/part-0.csv", b"id\n1\n")
    glue.start_crawler(Name=NAME)
    time.sleep(0.3)  # by now the crawl has looked, and is still at it
    put("out/flights/ds=2/part-0.csv", b"id\n1\n")
    assert glue.get_databases()["DatabaseList"] == []
    _wait(glue)
    found = {"DatabaseName": "lake", "TableName": "flights"}
    assert [each["Values"] for each in glue.get_partitions(**found)["Partitions"]] == [["1"]]
    aws.configure(crawl_duration=0)
    _crawl(glue)
    assert [each["Values"] for each in glue.get_partitions(**found)["Partitions"]] == [["1"], ["2"]]


def test_regions_have_catalogs_of_their_own(aws: AwsSimulator, glue: Any, put: Callable[[str, bytes], None]) -> None:
    put("out/flights/a.csv", b"id\n1\n")
    _crawl(glue)
    other = aws.client("glue", "eu-central-1")
    assert other.get_databases()["DatabaseList"] == []
    with pytest.raises(other.exceptions.EntityNotFoundException):
        other.get_crawler(Name=NAME)


def test_metrics_and_history_agree_with_what_happened(
    aws: AwsSimulator, glue: Any, put: Callable[[str, bytes], None]
) -> None:
    put("out/flights/a.csv", b"id\n1\n")
    _crawl(glue)
    metrics = glue.get_crawler_metrics(CrawlerNameList=[NAME])["CrawlerMetricsList"][0]
    assert (metrics["CrawlerName"], metrics["TablesCreated"], metrics["TablesUpdated"]) == (NAME, 1, 0)
    assert 0.1 < metrics["LastRuntimeSeconds"] == metrics["MedianRuntimeSeconds"]
    aws.configure(crawl_fail=NAME)
    _crawl(glue)
    glue.start_crawler(Name=NAME)
    crawls = glue.list_crawls(CrawlerName=NAME)["Crawls"]
    assert [each["State"] for each in crawls][1:] == ["FAILED", "COMPLETED"]
    assert crawls[2]["EndTime"] > crawls[2]["StartTime"] < crawls[1]["StartTime"]
    completed = [{"FieldName": "STATE", "FilterOperator": "EQ", "FieldValue": "COMPLETED"}]
    assert [each["CrawlId"] for each in glue.list_crawls(CrawlerName=NAME, Filters=completed)["Crawls"]] == [
        crawls[2]["CrawlId"]
    ]


def test_recreated_crawler_has_no_history(glue: Any) -> None:
    _crawl(glue)
    glue.delete_crawler(Name=NAME)
    glue.create_crawler(**CONFIG)
    assert "LastCrawl" not in _crawler(glue)
    assert glue.list_crawls(CrawlerName=NAME)["Crawls"] == []


def test_unknown_crawler_is_not_found(glue: Any) -> None:
    with pytest.raises(ClientError, match="EntityNotFoundException"):
        glue.start_crawler(Name="nobody")


def test_provider_operators_and_sensor_work_unmodified(
    aws: AwsSimulator, connection: str, put: Callable[[str, bytes], None]
) -> None:
    from airflow.providers.amazon.aws.operators.glue_crawler import GlueCrawlerCreateOperator, GlueCrawlerRunOperator
    from airflow.providers.amazon.aws.sensors.glue_crawler import GlueCrawlerSensor

    put("out/flights/a.csv", b"id\n1\n")
    common = {"aws_conn_id": connection, "region_name": REGION}
    GlueCrawlerCreateOperator(task_id="create", config=CONFIG, **common).execute({})
    GlueCrawlerRunOperator(task_id="run", crawler_name=NAME, poll_interval=0.05, **common).execute({})
    assert GlueCrawlerSensor(task_id="check", crawler_name=NAME, **common).poke({}) is True
    glue = aws.client("glue", REGION)
    assert [each["Name"] for each in glue.get_tables(DatabaseName="lake")["TableList"]] == ["flights"]


def test_deprecated_provider_operator_creates_updates_and_runs_the_crawler(
    aws: AwsSimulator, connection: str, put: Callable[[str, bytes], None]
) -> None:
    from airflow.exceptions import AirflowProviderDeprecationWarning
    from airflow.providers.amazon.aws.operators.glue_crawler import GlueCrawlerOperator

    put("out/flights/a.csv", b"id\n1\n")
    for prefix in ("one_", "two_"):
        with pytest.warns(AirflowProviderDeprecationWarning):
            operator = GlueCrawlerOperator(
                task_id="crawl",
                config=CONFIG | {"TablePrefix": prefix},
                poll_interval=0.05,
                aws_conn_id=connection,
                region_name=REGION,
            )
        operator.execute({})
    tables = aws.client("glue", REGION).get_tables(DatabaseName="lake")["TableList"]
    assert [each["Name"] for each in tables] == ["one_flights", "two_flights"]
