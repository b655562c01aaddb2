"""Where the Glue sensors of the amazon provider (9.39) answer wrongly or wait for nothing, and what ours answers there.

Each test shows the peer's answer first: when a release of the provider corrects it, the test says so by failing.
"""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.amazon.aws.sensors.glue import GlueJobSensor
from airflow.providers.amazon.aws.sensors.glue_catalog_partition import GlueCatalogPartitionSensor
from airflow.providers.amazon.aws.sensors.glue_crawler import GlueCrawlerSensor
from airflow.providers.amazon.aws.triggers.s3 import S3KeysUnchangedTrigger

from airflow_lockprovider.demo.aws import AwsSimulator
from airflow_lockprovider.readiness.crawl import CrawlProbe
from airflow_lockprovider.readiness.job_run import JobRunProbe
from airflow_lockprovider.readiness.partition import PartitionProbe
from airflow_lockprovider.readiness.verdict import Status
from tests.simulated_aws import HERE, SOURCE, Lake

NO_CONTEXT: Any = {}


@pytest.fixture
def glue(aws: AwsSimulator, lake: Lake) -> Any:
    client = aws.client("glue", HERE)
    client.create_database(DatabaseInput={"Name": "db"})
    targets = {"S3Targets": [{"Path": f"s3://{SOURCE}/out"}]}
    client.create_crawler(Name="sales", Role="r", DatabaseName="db", Targets=targets)
    aws.configure(crawl_duration=0.05, crawl_stopping=0)
    return client


def crawl_to_its_end(glue: Any) -> None:
    probe = CrawlProbe({"glue": glue}, crawler_name="sales")
    verdict = probe.begin()
    while verdict.status is Status.WAIT:
        verdict = probe.step()
    assert verdict.status is Status.READY


def test_an_earlier_crawl_is_taken_for_ours_and_we_wait_for_our_own(aws: AwsSimulator, glue: Any) -> None:
    crawl_to_its_end(glue)
    aws.configure(crawl_start_lag=30)  # StartCrawler has answered, GetCrawler does not show the crawl yet
    probe = CrawlProbe({"glue": glue}, crawler_name="sales")
    probe.begin()
    assert GlueCrawlerSensor(task_id="peer", crawler_name="sales", aws_conn_id="aws_here").poke(NO_CONTEXT) is True
    assert probe.step().status is Status.WAIT


def test_one_look_at_a_crawler_is_two_requests_that_may_disagree_and_ours_is_one(aws: AwsSimulator, glue: Any) -> None:
    crawl_to_its_end(glue)
    aws.reset("requests")
    GlueCrawlerSensor(task_id="peer", crawler_name="sales", aws_conn_id="aws_here").poke(NO_CONTEXT)
    assert aws.requests()["glue"]["GetCrawler"] == 2
    aws.reset("requests")
    CrawlProbe({"glue": glue}, crawler_name="sales").look()
    assert aws.requests()["glue"]["GetCrawler"] == 1


def test_a_crawler_that_never_ran_is_a_key_error_and_ours_starts_it(glue: Any) -> None:
    with pytest.raises(KeyError, match="LastCrawl"):
        GlueCrawlerSensor(task_id="peer", crawler_name="sales", aws_conn_id="aws_here").poke(NO_CONTEXT)
    crawl_to_its_end(glue)


@pytest.mark.parametrize("state", ["ERROR", "EXPIRED"])
def test_a_run_that_is_over_is_waited_for_and_we_fail_at_once(aws: AwsSimulator, glue: Any, state: str) -> None:
    glue.create_job(Name="load", Role="r", Command={"Name": "glueetl"})
    run_id = glue.start_job_run(JobName="load")["JobRunId"]
    aws.set_job_run("load", state, run_id=run_id)
    peer = GlueJobSensor(task_id="peer", job_name="load", run_id=run_id, aws_conn_id="aws_here")
    assert peer.poke(NO_CONTEXT) is False
    verdict = JobRunProbe({"glue": glue}, job_name="load", run_id=run_id).begin()
    assert (verdict.status, state in verdict.reason) == (Status.FAILED, True)


def test_an_entry_in_the_catalog_is_taken_for_data_and_we_look_behind_it(aws: AwsSimulator, glue: Any) -> None:
    keys = [{"Name": "year", "Type": "string"}]
    glue.create_table(DatabaseName="db", TableInput={"Name": "sales", "PartitionKeys": keys})
    location = {"Location": f"s3://{SOURCE}/out/year=2026/"}
    partition = {"Values": ["2026"], "StorageDescriptor": location}
    glue.create_partition(DatabaseName="db", TableName="sales", PartitionInput=partition)
    peer = GlueCatalogPartitionSensor(
        task_id="peer", table_name="sales", database_name="db", expression="year='2026'", aws_conn_id="aws_here"
    )
    assert peer.poke(NO_CONTEXT) is True
    clients = {"glue": glue, "s3": aws.client("s3", HERE)}
    probe = PartitionProbe(clients, database="db", table="sales", partitions=["year=2026"])
    verdict = probe.begin()
    assert verdict.status is Status.WAIT
    assert "is empty" in verdict.reason


def test_throttling_that_does_not_end_ends_our_wait(aws: AwsSimulator, glue: Any) -> None:
    # A peer's waiter counts no attempt for such an answer (aws/utils/waiter_with_logging.py): it goes on until the
    # task's own timeout, if it has one.
    aws.configure(request_errors={"glue.GetJobRun": "ThrottlingException"})
    impatient = aws.client("glue", HERE, retries={"total_max_attempts": 1})
    probe = JobRunProbe({"glue": impatient}, job_name="load", run_id="jr", max_transient_errors=5)
    statuses = [probe.step().status for _ in range(5)]
    assert statuses == [Status.WAIT] * 4 + [Status.FAILED]


def test_a_peers_trigger_asks_without_a_pause_and_ours_keeps_its_interval() -> None:
    # Hard-wired in the peer: a hundred listings a second. How often ours looks: tests/unit/triggers.
    trigger = S3KeysUnchangedTrigger(bucket_name="lake", prefix="out/")
    assert trigger.polling_period_seconds == 0
