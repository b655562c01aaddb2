"""Readiness sensors in a real Airflow, against the simulated AWS: the verdict in log and XCom, an asset that starts
region 2, one look by a run's conf, and a triggerer that is lost in the middle."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_lockprovider.demo.airflow_services import AirflowServices
from airflow_lockprovider.demo.aws import AwsSimulator
from airflow_lockprovider.demo.leash import descendants
from airflow_lockprovider.demo.postgres import EmbeddedPostgres
from airflow_lockprovider.demo.supervisor import Supervisor
from airflow_lockprovider.lease import connect
from tests.simulated_aws import HERE, REPLICA, SOURCE, THERE, Lake, make_bucket, rule

from .conftest import SETTINGS, Live

pytestmark = pytest.mark.live

DAGS = """\
from pathlib import Path

import json

from airflow.sdk import DAG, Asset, Param, task

from airflow_lockprovider import LockedOperator
from airflow_lockprovider.sensors import GlueCrawlSensor, S3ReplicationSensor

arrived = Asset("sales_in_region_2", uri="s3://{replica}/out/")

with DAG("waits", schedule=None, params={{"mode_override": Param("wait", enum=["wait", "once"])}}):
    S3ReplicationSensor(
        task_id="wait",
        source_bucket="{source}",
        destination_bucket="{replica}",
        prefix="{{{{ dag_run.conf.get('prefix', 'out/') }}}}",
        source_conn_id="aws_here",
        destination_conn_id="aws_there",
        poke_interval=(0.5, 2),
        timeout=120,
        retries=3,
        outlets=[arrived],
    )

with DAG("region2", schedule=[arrived]):

    @task
    def tell(triggering_asset_events):
        (event,) = triggering_asset_events[arrived]
        Path("{marks}/told").write_text(json.dumps(event.extra))

    tell()

with DAG("crawls", schedule=None):
    LockedOperator(
        task_id="crawl",
        operator=GlueCrawlSensor,
        lock="glue.sales",
        crawler_name="sales",
        aws_conn_id="aws_here",
        poke_interval=0.5,
        timeout=120,
    )
"""


class Place:
    """The simulated AWS and the files of this Airflow."""

    def __init__(self, folder: Path, aws: AwsSimulator) -> None:
        self.aws, self.dags, self.marks = aws, folder / "dags", folder / "marks"
        self.dags.mkdir()
        self.marks.mkdir()
        text = DAGS.format(source=SOURCE, replica=REPLICA, marks=self.marks)
        (self.dags / "readiness.py").write_text(text, encoding="utf-8")
        self.lake = Lake(aws, make_bucket(aws, SOURCE, HERE), make_bucket(aws, REPLICA, THERE))
        self.lake.replicate(rule())
        glue = aws.client("glue", HERE)
        glue.create_database(DatabaseInput={"Name": "db"})
        targets = {"S3Targets": [{"Path": f"s3://{SOURCE}/out"}]}
        glue.create_crawler(Name="sales", Role="r", DatabaseName="db", Targets=targets)

    def connections(self) -> dict[str, str]:
        return {
            f"AIRFLOW_CONN_AWS_{name}": json.dumps(
                {
                    "conn_type": "aws",
                    "login": "simulated",
                    "password": "simulated",
                    "extra": {"endpoint_url": self.aws.endpoint_url, "region_name": region},
                }
            )
            for name, region in (("HERE", HERE), ("THERE", THERE))
        }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with AwsSimulator(replication_delay=0.05, replication_jitter=0.05) as aws:
        yield Place(tmp_path_factory.mktemp("live_readiness"), aws)


@pytest.fixture(scope="module")
def live(place: Place, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("live_readiness_airflow")
    names = [f"readiness_airflow_{os.getpid()}", f"readiness_warehouse_{os.getpid()}"]
    metadata, database = (postgres.create_database(name) for name in names)
    locks = connect(database, settings=SETTINGS)
    locks.init_schema()
    settings = {
        **place.connections(),
        "AIRFLOW_CONN_DWH_DEFAULT": database,
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "6",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    try:
        with Supervisor(folder / "logs") as supervisor:
            airflow = AirflowServices(folder / "airflow", place.dags, metadata, supervisor, extra_env=settings)
            airflow.migrate()
            airflow.start()
            airflow.wait_until_healthy(["waits", "region2", "crawls"])
            yield Live(airflow, supervisor, database, locks)
    finally:
        locks.close()
        for name in names:
            postgres.drop_database(name)


def until(live: Live, condition: Callable[[], Any], seconds: float = 90.0) -> Any:
    for _ in range(int(seconds / 0.2)):
        if found := condition():
            return found
        live.supervisor.wait(0.2)
    raise AssertionError("it did not happen")


def verdict_of(live: Live, run: tuple[str, str], task_id: str) -> dict[str, Any]:
    path = f"/api/v2/dags/{run[0]}/dagRuns/{run[1]}/taskInstances/{task_id}/xcomEntries/return_value"
    value = live.airflow.client.get(path, deserialize="true")["value"]
    return value if isinstance(value, dict) else json.loads(value)


def task_of(live: Live, run: tuple[str, str]) -> dict[str, Any]:
    (task,) = live.airflow.client.task_instances(*run)
    return task


def test_while_it_waits_the_reason_can_be_read_and_once_ready_region_2_is_started(live: Live, place: Place) -> None:
    client = live.airflow.client
    place.aws.configure(replication_stall="part-00002")
    place.lake.write(3)
    run = ("waits", client.trigger("waits"))
    until(live, lambda: task_of(live, run)["state"] == "deferred")
    waiting = verdict_of(live, run, "wait")
    assert (waiting["status"], waiting["expected"], waiting["missing_sample"]) == ("WAIT", 3, ["out/part-00002"])

    place.aws.configure(replication_stall=None)
    assert live.airflow.wait_for_runs([run], timeout=90) == {run: "success"}
    assert verdict_of(live, run, "wait")["status"] == "READY"
    assert "2/3 arrived, 1 pending" in client.task_log(*run, "wait")

    told = until(live, lambda: (place.marks / "told").exists() and (place.marks / "told").read_text())
    extra = json.loads(told)
    assert (extra["kind"], extra["expected"], extra["arrived"]) == ("s3_replication", 3, 3)
    assert extra["about"]["prefix"] == "out/"
    assert extra["waited_seconds"] > 0
    assert extra["lag_seconds"] is not None


def test_one_look_fails_at_once_without_a_retry_and_says_why(live: Live, place: Place) -> None:
    place.aws.configure(replication_stall="late/")
    place.lake.write(1, prefix="out/late/")
    run = ("waits", live.airflow.client.trigger("waits", conf={"mode_override": "once", "prefix": "out/late/"}))
    assert live.airflow.wait_for_runs([run], timeout=60) == {run: "failed"}
    task = task_of(live, run)
    assert (task["state"], task["try_number"]) == ("failed", 1)
    assert verdict_of(live, run, "wait")["missing_sample"] == ["out/late/part-00000"]
    assert "WAIT, looked once: 0/1 arrived" in live.airflow.client.task_log(*run, "wait")


@pytest.mark.deep
def test_another_triggerer_goes_on_with_the_same_crawl_and_the_lock_is_kept(live: Live, place: Place) -> None:
    place.aws.configure(crawl_duration=25, replication_stall=None)
    run = ("crawls", live.airflow.client.trigger("crawls"))
    until(live, lambda: task_of(live, run)["state"] == "deferred")
    until(live, lambda: place.aws.requests()["glue"].get("GetCrawler", 0) > 2)
    environment = {**live.airflow.env, "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": "0"}
    live.supervisor.start(
        "triggerer-2", live.airflow.command("triggerer", "--skip-serve-logs"), env=environment, cwd=live.airflow.home
    )
    lost = descendants(live.supervisor.pids()["triggerer"])
    for process in lost:
        os.kill(process, signal.SIGSTOP)
    try:
        assert live.airflow.wait_for_runs([run], timeout=120) == {run: "success"}
    finally:
        for process in lost:
            os.kill(process, signal.SIGCONT)
    assert place.aws.requests()["glue"]["StartCrawler"] == 1
    assert {event.event for event in live.locks.history("glue.sales")} == {"granted", "released"}
    assert len([event for event in live.locks.history("glue.sales") if event.event == "granted"]) == 1
