"""Manifests and the repair of a replication, as tasks, against the simulated AWS."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout

from airflow_lockprovider.demo.aws import AwsSimulator
from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.operators.s3_write_manifest import S3WriteManifestOperator
from airflow_lockprovider.readiness.errors import DataWillNotArrive, ReadinessMisconfigured
from airflow_lockprovider.readiness.manifest import Manifest
from airflow_lockprovider.readiness.manifest_writing import ManifestConflict
from airflow_lockprovider.sensors import S3ManifestSensor, S3ReplicationSensor
from airflow_lockprovider.transfers.s3_batch_replication import S3BatchReplicationOperator
from airflow_lockprovider.triggers import settle
from tests.simulated_aws import REPLICA, SOURCE, Lake, make_bucket, rule

from .sensor_task import SensorTask

KEY = "out/_MANIFEST.json"
ROLE = "arn:aws:iam::123456789012:role/batch"


@pytest.fixture(autouse=True)
def _settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "settle_time", lambda: 0.0)


def write(run_id: str = "r1", **settings: Any) -> Any:
    arguments = {"bucket": SOURCE, "key": KEY, "prefix": "out/", "aws_conn_id": "aws_here", **settings}
    operator = S3WriteManifestOperator(task_id="manifest", **arguments)
    ti = SimpleNamespace(dag_id="etl", run_id=run_id, task_id="manifest", map_index=-1, try_number=1)
    return operator.execute({"ti": ti})  # type: ignore[typeddict-item]


def waiting(**settings: Any) -> S3ManifestSensor:
    return S3ManifestSensor(
        **{
            "task_id": "wait",
            "bucket": REPLICA,
            "manifest": KEY,
            "aws_conn_id": "aws_there",
            "poke_interval": 0.1,
            "timeout": 20,
            **settings,
        }
    )


def repair(**settings: Any) -> S3BatchReplicationOperator:
    return S3BatchReplicationOperator(
        **{
            "task_id": "repair",
            "source_bucket": SOURCE,
            "role_arn": ROLE,
            "prefixes": ["out/"],
            "aws_conn_id": "aws_here",
            "poke_interval": 0.1,
            "timeout": 20,
            **settings,
        }
    )


def test_region_2_waits_alone_for_what_region_1_wrote_down(lake: Lake) -> None:
    lake.write(20)
    written = write()
    assert (written["objects"], written["uri"]) == (20, f"s3://{SOURCE}/{KEY}")
    lake.aws.configure(replication_delay=0.3)
    verdict = SensorTask(waiting(identity=("key", "size", "version_id"))).run()
    assert (verdict["status"], verdict["expected"], verdict["facts"]["run_id"]) == ("READY", 20, "etl/r1")


def test_the_manifest_arrives_before_the_objects_and_does_not_count_as_their_flag(lake: Lake) -> None:
    lake.aws.configure(replication_stall="part-00003$")
    lake.write(20)
    write()
    with pytest.raises(AirflowSensorTimeout, match=r"19/20 arrived, 1 pending.*out/part-00003"):
        SensorTask(waiting(timeout=1.5)).run()


def test_poke_mode_waits_in_the_worker(lake: Lake) -> None:
    lake.write(3)
    write()
    assert waiting(deferrable=False).execute({"ti": None})["arrived"] == 3  # type: ignore[typeddict-item]


def test_a_second_writer_is_told_who_was_first(lake: Lake) -> None:
    lake.write(3)
    assert not write()["was_there"]
    assert write()["was_there"]
    lake.write(1, first=3)
    with pytest.raises(ManifestConflict, match=r"written by etl/r1/manifest#1 in run etl/r1 at"):
        write("r2")
    assert write(replace="same_run")["objects"] == 4


def test_row_counts_come_from_another_task(lake: Lake) -> None:
    keys = lake.write(2)
    assert write(rows=dict.fromkeys(keys, 5))["rows"] == 10
    with pytest.raises(ConfigurationError, match=r"rows must be a dict of key → rows, not str"):
        write(rows="{'out/part-00000': 5}")


@pytest.mark.parametrize(
    ("sensor", "wrong"),
    [
        (waiting, {"bucket": "s3://lake"}),
        (waiting, {"manifest": ""}),
        (waiting, {"manifest": "http://lake/x"}),
        (waiting, {"identity": ("size",)}),
        (waiting, {"min_objects": -1}),
        (repair, {"role_arn": ""}),
        (repair, {"statuses": ["BROKEN"]}),
        (repair, {"prefixes": "out/"}),
        (repair, {"created_after": "2026-01-01"}),
    ],
)
def test_nonsense_is_refused_when_the_dag_is_parsed(sensor: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        sensor(**wrong)


def replication() -> S3ReplicationSensor:
    return S3ReplicationSensor(
        task_id="wait",
        source_bucket=SOURCE,
        destination_bucket=REPLICA,
        prefix="out/",
        source_conn_id="aws_here",
        destination_conn_id="aws_there",
        poke_interval=0.1,
        timeout=20,
    )


def test_what_the_sensor_gives_up_the_repair_brings_over(lake: Lake) -> None:
    lake.aws.configure(replication_fail=r"part-0000[37]$")
    lake.source.put_object(Bucket=SOURCE, Key="other/x", Body=b"not of this repair")
    lake.write(20)
    with pytest.raises(DataWillNotArrive, match="S3BatchReplicationOperator"):
        SensorTask(replication()).run()
    lake.aws.configure(replication_fail=None)

    verdict = SensorTask(repair()).run()

    assert (verdict["status"], verdict["expected"], verdict["arrived"]) == ("READY", 2, 2)
    assert SensorTask(replication()).run()["arrived"] == 20
    assert lake.aws.requests()["s3control"]["CreateJob"] == 1


def test_objects_older_than_the_rule_are_repaired_too(lake: Lake) -> None:
    lake.source.delete_bucket_replication(Bucket=SOURCE)
    lake.write(5)
    lake.replicate(rule())
    with pytest.raises(DataWillNotArrive, match="not eligible"):
        SensorTask(replication()).run()
    assert SensorTask(repair(deferrable=False)).run()["arrived"] == 5
    assert SensorTask(replication()).run()["arrived"] == 5


def test_objects_that_fail_again_are_named_from_the_report(lake: Lake) -> None:
    lake.aws.configure(replication_fail=r"part-0000[37]$")
    lake.write(20)
    with pytest.raises(DataWillNotArrive):
        SensorTask(replication()).run()
    lake.aws.configure(replication_fail=r"part-00003$")
    with pytest.raises(
        DataWillNotArrive, match=r"1/2 arrived.*failed for 1 object \(out/part-00003\).*s3://lake/batch"
    ):
        SensorTask(repair()).run()


def test_a_job_that_fails_says_why(lake: Lake) -> None:
    with pytest.raises(DataWillNotArrive, match="No object matches the filter"):
        SensorTask(repair()).run()
    lake.source.delete_bucket_replication(Bucket=SOURCE)
    with pytest.raises(DataWillNotArrive, match="has no replication configuration"):
        SensorTask(repair()).run()


def test_a_refused_job_names_the_permission(lake: Lake) -> None:
    lake.aws.fault("s3control.CreateJob", "AccessDenied")
    with pytest.raises(ReadinessMisconfigured, match=r"refused 3 times.*s3:CreateJob and iam:PassRole"):
        SensorTask(repair()).run()


def test_a_lost_answer_makes_no_second_job(aws: AwsSimulator, lake: Lake) -> None:
    lake.source.delete_bucket_replication(Bucket=SOURCE)
    lake.write(3)
    lake.replicate(rule())
    probe = repair()._build("")
    first = probe.begin()
    job = probe.job_id  # type: ignore[attr-defined]
    probe.must_begin = True  # as if the answer had been lost
    probe.begin()
    assert (first.status, probe.job_id) == ("WAIT", job)  # type: ignore[attr-defined]


def test_looking_once_creates_no_job(lake: Lake) -> None:
    assert repair().look().status == "WAIT"
    assert "s3control" not in lake.aws.requests()


def test_a_report_can_lie_in_another_bucket(lake: Lake) -> None:
    make_bucket(lake.aws, "reports-of-batch", "eu-central-1")
    lake.aws.configure(replication_fail="part-00000$")
    lake.write(1)
    with pytest.raises(DataWillNotArrive):
        SensorTask(replication()).run()
    with pytest.raises(DataWillNotArrive, match=r"\(out/part-00000\)"):
        SensorTask(repair(report_bucket="reports-of-batch", report_prefix="")).run()
    keys = [each["Key"] for each in lake.source.list_objects_v2(Bucket="reports-of-batch")["Contents"]]
    manifest = next(key for key in keys if key.endswith("manifest.json"))
    content = json.loads(lake.source.get_object(Bucket="reports-of-batch", Key=manifest)["Body"].read())
    assert [each["TaskExecutionStatus"] for each in content["Results"]] == ["failed"]


def test_the_manifest_lies_in_the_bucket_as_it_was_written(lake: Lake) -> None:
    lake.write(3)
    write(key="out/day=1/_MANIFEST.json.gz", copy_manifest_key="out/_COPY.json")
    content = lake.source.get_object(Bucket=SOURCE, Key="out/day=1/_MANIFEST.json.gz")["Body"].read()
    manifest = Manifest.from_bytes(content)
    assert (manifest.written_by, manifest.objects) == ("etl/r1/manifest#1", 3)
