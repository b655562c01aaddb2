"""Glue job runs, BatchGetPartition and skipped folders in the simulated AWS."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.glue.models import glue_backends

from airflow_lockprovider.demo.aws import AwsSimulator
from airflow_lockprovider.demo.aws.job_runs import JobRun
from tests.simulated_aws import HERE, SOURCE, THERE, Lake

CSV = b"id,name\n1,a\n"


@pytest.fixture
def glue(aws: AwsSimulator) -> Any:
    client = aws.client("glue", HERE)
    client.create_job(Name="load", Role="r", Command={"Name": "glueetl"}, DefaultArguments={"--day": "1"})
    return client


def _run(glue: Any, run_id: str, job: str = "load") -> dict[str, Any]:
    found: dict[str, Any] = glue.get_job_run(JobName=job, RunId=run_id)["JobRun"]
    return found


def _until(true: Callable[[], bool], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "did not become true in time"
        time.sleep(0.01)


def test_a_run_starts_runs_and_succeeds(aws: AwsSimulator, glue: Any) -> None:
    aws.configure(job_start_lag=0.2, job_duration=0.3)
    run_id = glue.start_job_run(JobName="load", Arguments={"--month": "2"})["JobRunId"]
    seen = [_run(glue, run_id)]
    assert "CompletedOn" not in seen[0]

    def ended() -> bool:
        seen.append(_run(glue, run_id))
        return "CompletedOn" in seen[-1]

    _until(ended)
    assert list(dict.fromkeys(each["JobRunState"] for each in seen)) == ["STARTING", "RUNNING", "SUCCEEDED"]
    assert seen[-1]["Arguments"] == {"--day": "1", "--month": "2"}
    assert (seen[-1]["CompletedOn"] - seen[-1]["StartedOn"]).total_seconds() == pytest.approx(0.5, abs=0.01)
    assert "ErrorMessage" not in seen[-1]


@pytest.mark.parametrize("outcome", ["FAILED", "STOPPED", "TIMEOUT", "ERROR", "EXPIRED"])
def test_a_run_can_end_in_every_other_state(aws: AwsSimulator, glue: Any, outcome: str) -> None:
    aws.configure(job_duration=0, job_outcomes={"^other": "SUCCEEDED", "^lo": outcome}, job_error="out of luck (1")
    run = _run(glue, glue.start_job_run(JobName="load")["JobRunId"])
    assert (run["JobRunState"], run["ErrorMessage"]) == (outcome, "out of luck (1")


def test_a_test_can_put_a_run_into_any_state(aws: AwsSimulator, glue: Any) -> None:
    run_id = glue.start_job_run(JobName="load")["JobRunId"]
    aws.set_job_run("load", "WAITING", run_id=run_id)
    assert "CompletedOn" not in _run(glue, run_id)
    aws.set_job_run("load", "EVICTED", error="by a state of tomorrow")
    assert _run(glue, run_id)["JobRunState"] == "EVICTED"
    with pytest.raises(ValueError, match="job 'other' has no run"):
        aws.set_job_run("other", "FAILED")


def test_a_run_longer_than_its_timeout_ends_with_it(aws: AwsSimulator, glue: Any) -> None:
    run = JobRun(
        job=glue_backends[DEFAULT_ACCOUNT_ID][HERE].jobs["load"],
        region=HERE,
        arguments={},
        timeout=60,
        starting=5,
        duration=3600,
        outcome="SUCCEEDED",
        error=None,
    )
    assert [run.state(run.started_at + after) for after in (4, 64, 66)] == ["STARTING", "RUNNING", "TIMEOUT"]
    assert run.as_dict(run.started_at + 999)["CompletedOn"] == run.started_at + 65


def test_one_run_at_a_time_unless_the_job_allows_more(aws: AwsSimulator, glue: Any) -> None:
    aws.configure(job_duration=60)
    first = glue.start_job_run(JobName="load")["JobRunId"]
    with pytest.raises(ClientError, match="ConcurrentRunsExceededException"):
        glue.start_job_run(JobName="load")
    stopped = glue.batch_stop_job_run(JobName="load", JobRunIds=[first, "jr_unknown"])
    assert [each["JobRunId"] for each in stopped["SuccessfulSubmissions"]] == [first]
    assert [each["JobRunId"] for each in stopped["Errors"]] == ["jr_unknown"]
    assert _run(glue, first)["JobRunState"] == "STOPPED"
    second = glue.start_job_run(JobName="load")["JobRunId"]
    assert [each["Id"] for each in glue.get_job_runs(JobName="load")["JobRuns"]] == [second, first]


def test_runs_belong_to_one_region_and_to_one_life_of_the_job(aws: AwsSimulator, glue: Any) -> None:
    run_id = glue.start_job_run(JobName="load")["JobRunId"]
    with pytest.raises(ClientError, match="EntityNotFoundException"):
        aws.client("glue", THERE).get_job_run(JobName="load", RunId=run_id)
    glue.delete_job(JobName="load")
    glue.create_job(Name="load", Role="r", Command={"Name": "glueetl"})
    with pytest.raises(ClientError, match="EntityNotFoundException"):
        _run(glue, run_id)


@pytest.fixture
def table(glue: Any) -> Any:
    glue.create_database(DatabaseInput={"Name": "db"})
    glue.create_table(DatabaseName="db", TableInput={"Name": "sales", "PartitionKeys": [{"Name": "day"}]})
    for day in ("1", "2", "3"):
        glue.create_partition(
            DatabaseName="db",
            TableName="sales",
            PartitionInput={"Values": [day], "StorageDescriptor": {"Location": f"s3://lake/out/day={day}/"}},
        )
    return glue


def _ask(glue: Any, days: list[str], table: str = "sales") -> Any:
    return glue.batch_get_partition(
        DatabaseName="db", TableName=table, PartitionsToGet=[{"Values": [day]} for day in days]
    )


def test_partitions_that_do_not_exist_are_left_out(table: Any) -> None:
    answer = _ask(table, ["3", "4", "1"])
    assert [each["Values"] for each in answer["Partitions"]] == [["3"], ["1"]]
    assert answer["Partitions"][0]["StorageDescriptor"]["Location"] == "s3://lake/out/day=3/"
    assert answer["Partitions"][0]["CreationTime"].year >= 2020
    assert answer["UnprocessedKeys"] == []


def test_keys_above_the_limit_come_back_unprocessed(aws: AwsSimulator, table: Any) -> None:
    aws.configure(partitions_per_answer=2)
    answer = _ask(table, ["1", "2", "3"])
    assert [each["Values"] for each in answer["Partitions"]] == [["1"], ["2"]]
    assert answer["UnprocessedKeys"] == [{"Values": ["3"]}]


def test_too_many_keys_and_unknown_tables_are_refused(table: Any) -> None:
    with pytest.raises(ClientError, match="InvalidInputException"):
        _ask(table, [str(day) for day in range(1001)])
    with pytest.raises(ClientError, match="EntityNotFoundException"):
        _ask(table, ["1"], table="no_such")


def test_a_crawl_can_skip_a_folder_and_still_succeed(aws: AwsSimulator, lake: Lake, glue: Any) -> None:
    for day in ("1", "2"):
        lake.source.put_object(Bucket=SOURCE, Key=f"out/sales/day={day}/part.csv", Body=CSV)
    glue.create_database(DatabaseInput={"Name": "db"})
    glue.create_crawler(
        Name="sales", Role="r", DatabaseName="db", Targets={"S3Targets": [{"Path": f"s3://{SOURCE}/out/sales"}]}
    )
    aws.configure(crawl_skip="day=2/$", crawl_duration=0.05, crawl_stopping=0)
    glue.start_crawler(Name="sales")
    _until(lambda: glue.get_crawler(Name="sales")["Crawler"]["State"] == "READY")
    assert glue.get_crawler(Name="sales")["Crawler"]["LastCrawl"]["Status"] == "SUCCEEDED"
    assert [each["Values"] for each in _ask(glue, ["1", "2"])["Partitions"]] == [["1"]]
