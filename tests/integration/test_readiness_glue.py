"""The Glue sensors against the simulated AWS, through Airflow connections and real boto3 clients."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout

from airflow_lockprovider.demo.aws import AwsSimulator
from airflow_lockprovider.readiness.errors import DataWillNotArrive, ReadinessMisconfigured
from airflow_lockprovider.sensors import GlueJobRunSensor, GluePartitionSensor
from airflow_lockprovider.triggers import settle
from tests.simulated_aws import HERE, REPLICA, SOURCE, THERE, Lake

from .sensor_task import SensorTask, crawl

DATA = b"id,name\n1,a\n"
LAST_YEAR = datetime.now(UTC) - timedelta(days=365)


@pytest.fixture(autouse=True)
def _settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "settle_time", lambda: 0.0)


@pytest.fixture
def glue(aws: AwsSimulator, lake: Lake) -> Any:
    """A client; the database ``db`` with the table ``sales`` by year and month, and a crawler of it."""
    client = aws.client("glue", HERE)
    client.create_database(DatabaseInput={"Name": "db"})
    client.create_table(DatabaseName="db", TableInput=table_input())
    targets = {"S3Targets": [{"Path": f"s3://{SOURCE}/sales"}]}
    client.create_crawler(Name="sales", Role="r", DatabaseName="db", Targets=targets)
    aws.configure(crawl_duration=0.2, crawl_stopping=0.05)
    aws.reset("requests")
    return client


def table_input(**more: Any) -> dict[str, Any]:
    keys = [{"Name": "year", "Type": "string"}, {"Name": "month", "Type": "string"}]
    storage = {"Location": f"s3://{SOURCE}/sales/", "Columns": [{"Name": "id", "Type": "int"}]}
    return {"Name": "sales", "PartitionKeys": keys, "StorageDescriptor": storage, **more}


def add_partition(glue: Any, year: str, month: str, *, bucket: str = SOURCE, folder: str = "sales") -> None:
    location = f"s3://{bucket}/{folder}/year={year}/month={month}/"
    partition = {"Values": [year, month], "StorageDescriptor": {"Location": location}}
    glue.create_partition(DatabaseName="db", TableName="sales", PartitionInput=partition)


def put(s3: Any, year: str, month: str, *, bucket: str = SOURCE, name: str = "part-0.csv", body: bytes = DATA) -> None:
    s3.put_object(Bucket=bucket, Key=f"sales/year={year}/month={month}/{name}", Body=body)


def partitions(*names: Any, **settings: Any) -> GluePartitionSensor:
    return GluePartitionSensor(
        **{
            "task_id": "partitions",
            "database_name": "db",
            "table_name": "sales",
            "partitions": list(names) or ["year=2026/month=01"],
            "aws_conn_id": "aws_here",
            "poke_interval": 0.1,
            "timeout": 20,
            **settings,
        }
    )


def job_run(run_id: str, **settings: Any) -> GlueJobRunSensor:
    return GlueJobRunSensor(
        **{
            "task_id": "job",
            "job_name": "load",
            "run_id": run_id,
            "aws_conn_id": "aws_here",
            "poke_interval": 0.1,
            "timeout": 20,
            **settings,
        }
    )


# -- partitions


@pytest.mark.parametrize("written", ["year=2026/month=01", ["2026", "01"], {"month": "01", "year": "2026"}])
def test_a_partition_with_data_is_ready_in_a_few_requests(
    aws: AwsSimulator, lake: Lake, glue: Any, written: Any
) -> None:
    add_partition(glue, "2026", "01")
    put(lake.source, "2026", "01")
    aws.reset("requests")
    verdict = SensorTask(partitions(written)).begin()
    assert (verdict["status"], verdict["arrived"], verdict["expected"]) == ("READY", 1, 1)
    assert aws.requests() == {
        "glue": {"GetTable": 1, "BatchGetPartition": 1},
        "s3": {"HeadBucket": 1, "ListObjectsV2": 1},
    }


def test_a_missing_partition_is_waited_for_by_name(lake: Lake, glue: Any) -> None:
    put(lake.source, "2026", "01")
    task = SensorTask(partitions())
    task.begin()
    (waiting,) = task.published
    assert "db.sales: year=2026/month=01 is not in the catalog" in waiting["reason"]
    add_partition(glue, "2026", "01")
    assert task.finish()["status"] == "READY"


def test_an_empty_partition_is_not_ready(lake: Lake, glue: Any) -> None:
    add_partition(glue, "2026", "01")
    put(lake.source, "2026", "01", name="_SUCCESS", body=b"ok")
    put(lake.source, "2026", "01", name="", body=b"")  # the marker that consoles write for a folder
    put(lake.source, "2026", "011")  # a neighbour whose name begins like it
    task = SensorTask(partitions())
    task.begin()
    assert f"year=2026/month=01 is empty (s3://{SOURCE}/sales/year=2026/month=01/)" in task.published[0]["reason"]
    put(lake.source, "2026", "01")
    assert task.finish()["status"] == "READY"


def test_what_was_there_is_not_asked_for_again(aws: AwsSimulator, lake: Lake, glue: Any) -> None:
    for month in ("01", "02"):
        put(lake.source, "2026", month)
    add_partition(glue, "2026", "01")
    task = SensorTask(partitions("year=2026/month=01", "year=2026/month=02"))
    task.begin()
    assert task.published[0]["arrived"] == 1
    add_partition(glue, "2026", "02")
    aws.reset("requests")
    assert task.finish()["arrived"] == 2
    assert aws.requests()["s3"]["ListObjectsV2"] == 1


def test_a_location_outside_of_the_prefix_fails_by_name(lake: Lake, glue: Any) -> None:
    add_partition(glue, "2026", "01", folder="old_sales")
    wanted = f"s3://{SOURCE}/sales/"
    with pytest.raises(DataWillNotArrive, match=rf"year=2026/month=01 lies in s3://{SOURCE}/old_sales/.*not under"):
        SensorTask(partitions(location_prefix=wanted)).run()


def test_a_bucket_of_another_region_fails(aws: AwsSimulator, lake: Lake, glue: Any) -> None:
    # The catalog of region 1 was copied as it was: its partitions point to region 1's bucket.
    add_partition(glue, "2026", "01", bucket=REPLICA)
    put(lake.replica, "2026", "01", bucket=REPLICA)
    with pytest.raises(DataWillNotArrive, match=f"whose bucket is in {THERE}, not in {HERE}"):
        SensorTask(partitions()).run()
    assert SensorTask(partitions(check_region=False)).begin()["status"] == "READY"


def test_old_files_are_not_fresh(lake: Lake, glue: Any) -> None:
    add_partition(glue, "2026", "01")
    put(lake.source, "2026", "01")
    fresh = datetime.now(UTC) + timedelta(seconds=1.5)
    task = SensorTask(partitions(min_update_time=fresh))
    task.begin()
    assert "has no file from" in task.published[0]["reason"]
    task.sensor.timeout = 20
    assert SensorTask(partitions(min_update_time=LAST_YEAR)).begin()["status"] == "READY"
    time.sleep(max(0.0, (fresh - datetime.now(UTC)).total_seconds()) + 1)  # moto writes the time itself
    put(lake.source, "2026", "01", name="part-1.csv")
    assert task.finish()["status"] == "READY"


def test_keys_that_glue_leaves_unprocessed_are_asked_for_again(aws: AwsSimulator, lake: Lake, glue: Any) -> None:
    names = [f"year=2026/month={month:02d}" for month in range(1, 8)]
    for month in range(1, 8):
        add_partition(glue, "2026", f"{month:02d}")
    aws.configure(partitions_per_answer=3)
    verdict = SensorTask(partitions(*names, not_empty=False, check_region=False)).begin()
    assert (verdict["status"], verdict["arrived"]) == ("READY", 7)
    assert aws.requests()["glue"]["BatchGetPartition"] == 3


def test_more_than_a_hundred_partitions_are_asked_for_in_hundreds(aws: AwsSimulator, glue: Any) -> None:
    names = [f"year={year}/month={month:02d}" for year in range(2000, 2021) for month in range(1, 13)]
    verdict = partitions(*names, not_empty=False, check_region=False).look()
    assert (verdict.status, verdict.expected, verdict.arrived) == ("WAIT", 252, 0)
    assert aws.requests()["glue"] == {"GetTable": 1, "BatchGetPartition": 3}


def test_a_table_that_is_not_there_is_an_error_or_waited_for(lake: Lake, glue: Any) -> None:
    glue.delete_table(DatabaseName="db", Name="sales")
    with pytest.raises(ReadinessMisconfigured, match=r"EntityNotFoundException.*db\.sales"):
        SensorTask(partitions()).run()
    task = SensorTask(partitions(missing_table="wait"))
    task.begin()
    assert task.published[0]["reason"] == "there is no table db.sales yet"
    glue.create_table(DatabaseName="db", TableInput=table_input())
    add_partition(glue, "2026", "01")
    put(lake.source, "2026", "01")
    assert task.finish()["status"] == "READY"


def test_partitions_that_do_not_fit_the_table_are_refused_with_its_keys(glue: Any) -> None:
    with pytest.raises(ReadinessMisconfigured, match=r"day=01 does not name the partition keys year, month"):
        SensorTask(partitions("day=01")).run()
    with pytest.raises(ReadinessMisconfigured, match=r"3 values for the partition keys year, month"):
        SensorTask(partitions(["2026", "01", "01"])).run()


def test_an_iceberg_table_is_refused_with_the_reason(glue: Any) -> None:
    glue.update_table(DatabaseName="db", TableInput=table_input(Parameters={"table_type": "ICEBERG"}))
    with pytest.raises(ReadinessMisconfigured, match="Iceberg table"):
        SensorTask(partitions()).run()


def test_throttling_is_waited_out_and_counted(aws: AwsSimulator, lake: Lake, glue: Any) -> None:
    task = SensorTask(partitions())
    task.begin()
    add_partition(glue, "2026", "01")
    put(lake.source, "2026", "01")
    aws.fault("glue.BatchGetPartition", "ThrottlingException", times=4)
    assert task.finish()["status"] == "READY"


def test_endless_throttling_ends(aws: AwsSimulator, glue: Any) -> None:
    # The provider's waiters go on for ever under a throttling that does not end.
    aws.configure(request_errors={"glue.BatchGetPartition": "ThrottlingException"})
    with pytest.raises(DataWillNotArrive, match=r"3 errors in a row.*ThrottlingException"):
        SensorTask(partitions(max_transient_errors=3, poke_interval=0.01)).run()


def test_a_refusal_names_the_permission(aws: AwsSimulator, glue: Any) -> None:
    aws.configure(request_errors={"glue.GetTable": "AccessDeniedException"})
    with pytest.raises(
        ReadinessMisconfigured, match=r"refused 3 times.*allow glue:GetTable for the Glue table db\.sales"
    ):
        SensorTask(partitions(poke_interval=0.01)).run()


# -- crawls


def test_yesterdays_crawl_is_not_todays(aws: AwsSimulator, lake: Lake, glue: Any) -> None:
    put(lake.source, "2026", "01")
    assert SensorTask(crawl()).run()["status"] == "READY"
    put(lake.source, "2026", "02")
    aws.configure(crawl_start_lag=0.3)
    verdict = SensorTask(crawl(table_name="sales", expected_partitions=["year=2026/month=02"])).run()
    assert (verdict["status"], verdict["arrived"]) == ("READY", 1)
    assert len(glue.list_crawls(CrawlerName="sales")["Crawls"]) == 2


@pytest.mark.parametrize(("on_running", "crawls"), [("rerun", 2), ("attach", 1)])
def test_a_crawl_that_runs_already(aws: AwsSimulator, lake: Lake, glue: Any, on_running: str, crawls: int) -> None:
    put(lake.source, "2026", "01")
    aws.configure(crawl_duration=3)
    glue.start_crawler(Name="sales")
    aws.configure(crawl_duration=0.1)
    assert SensorTask(crawl(on_running=on_running)).run()["status"] == "READY"
    assert len(glue.list_crawls(CrawlerName="sales")["Crawls"]) == crawls


def test_a_crawl_that_runs_already_fails_when_that_is_wanted(aws: AwsSimulator, glue: Any) -> None:
    aws.configure(crawl_duration=20)
    glue.start_crawler(Name="sales")
    with pytest.raises(DataWillNotArrive, match="already running"):
        SensorTask(crawl(on_running="fail")).run()


def test_files_that_came_while_another_crawl_ran_are_in_ours(aws: AwsSimulator, lake: Lake, glue: Any) -> None:
    put(lake.source, "2026", "01")
    aws.configure(crawl_duration=0.6)
    glue.start_crawler(Name="sales")
    time.sleep(0.2)
    put(lake.source, "2026", "02")  # the running crawl has looked already
    verdict = SensorTask(crawl(table_name="sales", expected_partitions=["year=2026/month=02"])).run()
    assert verdict["status"] == "READY"


def test_a_crawl_that_skips_a_partition_fails_with_its_name(aws: AwsSimulator, lake: Lake, glue: Any) -> None:
    put(lake.source, "2026", "01")
    put(lake.source, "2026", "02")
    aws.configure(crawl_skip="month=02")
    task = SensorTask(
        crawl(table_name="sales", expected_partitions=["year=2026/month=01", "year=2026/month=02"]),
    )
    with pytest.raises(
        DataWillNotArrive, match=r"SUCCEEDED; db\.sales: year=2026/month=02 is not in the catalog.*skip"
    ):
        task.run()
    last = task.published[-1]
    assert (last["status"], last["arrived"], last["missing_sample"]) == ("FAILED", 1, ["year=2026/month=02"])


def test_a_crawl_that_finds_nothing_fails_where_partitions_are_expected(glue: Any) -> None:
    glue.delete_table(DatabaseName="db", Name="sales")
    with pytest.raises(DataWillNotArrive, match=r"there is no table db\.sales"):
        SensorTask(crawl(table_name="sales", expected_partitions=["year=2026/month=01"])).run()


def test_a_crawl_that_fails_tells_its_message(aws: AwsSimulator, glue: Any) -> None:
    aws.configure(crawl_fail="sales")
    with pytest.raises(DataWillNotArrive, match=r"FAILED: .*crawl_fail.*log /aws-glue/crawlers/sales"):
        SensorTask(crawl()).run()


def test_a_cancelled_crawl_fails(aws: AwsSimulator, glue: Any) -> None:
    aws.configure(crawl_duration=5)
    task = SensorTask(crawl())
    task.begin()
    glue.stop_crawler(Name="sales")
    with pytest.raises(DataWillNotArrive, match="CANCELLED"):
        task.finish()


def test_a_triggerer_that_dies_in_the_middle_starts_no_second_crawl(aws: AwsSimulator, lake: Lake, glue: Any) -> None:
    put(lake.source, "2026", "01")
    aws.configure(crawl_duration=1.5)
    task = SensorTask(crawl())
    task.begin()
    task.kill_triggerer_after(0.5)
    assert task.finish()["status"] == "READY"
    assert aws.requests()["glue"]["StartCrawler"] == 1


def test_looking_once_starts_no_crawl(aws: AwsSimulator, glue: Any) -> None:
    verdict = crawl().look()
    assert (verdict.status, verdict.reason) == ("WAIT", "sales has never run")
    aws.configure(crawl_duration=20)
    glue.start_crawler(Name="sales")
    assert "sales is RUNNING" in crawl().look().reason
    glue.stop_crawler(Name="sales")
    aws.configure(crawl_duration=0)
    SensorTask(crawl()).run()
    verdict = crawl().look()
    assert verdict.status == "READY"
    assert "nothing was started" in verdict.reason
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert crawl(start=False, after=tomorrow).look().status == "WAIT"
    assert aws.requests()["glue"]["StartCrawler"] == 2


# -- job runs


@pytest.fixture
def run_id(aws: AwsSimulator, glue: Any) -> str:
    glue.create_job(Name="load", Role="r", Command={"Name": "glueetl", "ScriptLocation": "s3://scripts/load.py"})
    aws.configure(job_duration=600)
    return glue.start_job_run(JobName="load")["JobRunId"]


def test_a_job_run_is_waited_for(aws: AwsSimulator, run_id: str) -> None:
    task = SensorTask(job_run(run_id))
    task.begin()
    assert f"run {run_id} of load is" in task.published[0]["reason"]
    aws.set_job_run("load", "SUCCEEDED", run_id=run_id)
    verdict = task.finish()
    assert verdict["status"] == "READY"
    assert "SUCCEEDED" in verdict["reason"]


@pytest.mark.parametrize("state", ["FAILED", "STOPPED", "TIMEOUT", "ERROR", "EXPIRED"])
def test_every_bad_end_of_a_job_run_fails_at_once(aws: AwsSimulator, run_id: str, state: str) -> None:
    # The provider's sensor waits for days on ERROR and EXPIRED.
    task = SensorTask(job_run(run_id))
    task.begin()
    aws.set_job_run("load", state, error="out of memory on node 3", run_id=run_id)
    with pytest.raises(
        DataWillNotArrive, match=rf"{state}: out of memory on node 3 \(log /aws-glue/jobs/error/.*https://"
    ):
        task.finish()


def test_a_state_that_is_new_to_us_is_waited_out_and_named(aws: AwsSimulator, run_id: str) -> None:
    aws.set_job_run("load", "HIBERNATING", run_id=run_id)
    task = SensorTask(job_run(run_id, timeout=0.5))
    with pytest.raises(AirflowSensorTimeout, match="HIBERNATING, which is unknown here"):
        task.run()


def test_a_run_that_is_not_there_is_named(run_id: str) -> None:
    with pytest.raises(ReadinessMisconfigured, match=r"EntityNotFoundException.*run jr_none of load"):
        SensorTask(job_run("jr_none")).run()


def test_one_error_on_the_way_does_not_end_the_wait(aws: AwsSimulator, run_id: str) -> None:
    task = SensorTask(job_run(run_id))
    task.begin()
    aws.fault("glue.GetJobRun", "disconnect", times=4)
    aws.fault("glue.GetJobRun", "ExpiredTokenException", times=2)
    aws.set_job_run("load", "SUCCEEDED", run_id=run_id)
    assert task.finish()["status"] == "READY"
