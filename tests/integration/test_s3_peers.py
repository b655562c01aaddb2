"""Where the S3 sensors of the amazon provider (9.39) answer too early, or ask too much, and what ours answers there.

Each test shows the peer's answer first: when a release of the provider corrects it, the test says so by failing.
"""

from __future__ import annotations

from typing import Any

import pytest
from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor, S3KeysUnchangedSensor
from botocore.exceptions import ClientError

from airflow_lockprovider.aws.list_pages import speed_up
from airflow_lockprovider.readiness.replication import ReplicationProbe
from airflow_lockprovider.readiness.verdict import Status
from tests.simulated_aws import REPLICA, SOURCE, Lake

NO_CONTEXT: Any = {}


def probe_of(lake: Lake, **settings: Any) -> ReplicationProbe:
    return ReplicationProbe(
        {"source": speed_up(lake.source), "destination": speed_up(lake.replica)},
        **{"source_bucket": SOURCE, "destination_bucket": REPLICA, "prefix": "out/", **settings},
    )


def peer(**settings: Any) -> S3KeySensor:
    return S3KeySensor(task_id="peer", bucket_name=REPLICA, aws_conn_id="aws_there", **settings)


def test_a_wildcard_is_content_with_the_first_file_and_we_wait_for_all(lake: Lake) -> None:
    lake.aws.configure(replication_stall=".")
    lake.write(20)
    lake.lay(5, buckets=(REPLICA,))
    assert peer(bucket_key="out/part-*", wildcard_match=True).poke(NO_CONTEXT) is True
    verdict = probe_of(lake).begin()
    assert (verdict.status, verdict.arrived, verdict.expected) == (Status.WAIT, 5, 20)


def test_a_regular_expression_asks_nobody_and_lists_the_whole_bucket_and_we_list_the_prefix(lake: Lake) -> None:
    lake.lay(1)
    lake.lay(1500, prefix="other/", buckets=(REPLICA,))
    asked: list[Any] = []
    lake.aws.reset("requests")
    sensor = peer(bucket_key=r"out/part-\d+", use_regex=True, check_fn=lambda files, **_: asked.append(files))
    assert sensor.poke(NO_CONTEXT) is True
    assert not asked
    assert lake.aws.requests()["s3"]["ListObjectsV2"] == 2
    lake.aws.reset("requests")
    assert probe_of(lake).begin().status is Status.READY
    assert lake.aws.requests()["s3"]["ListObjectsV2"] == 2  # one for each bucket


def test_a_thousand_keys_cost_a_thousand_heads_and_us_two_listings(lake: Lake) -> None:
    lake.lay(30)
    lake.aws.reset("requests")
    keys = [f"out/part-{at:05d}" for at in range(30)]
    assert peer(bucket_key=keys, metadata_keys=["*"]).poke(NO_CONTEXT) is True
    assert lake.aws.requests()["s3"]["HeadObject"] >= 30
    lake.aws.reset("requests")
    probe_of(lake).begin()
    assert "HeadObject" not in lake.aws.requests()["s3"]


def test_names_that_stay_are_taken_for_data_that_stays_and_we_see_the_overwrite(lake: Lake) -> None:
    lake.lay(3, buckets=(REPLICA,))
    lake.aws.configure(replication_stall=".")
    lake.write(3)
    names = {f"out/part-{at:05d}" for at in range(3)}
    unchanged = S3KeysUnchangedSensor(
        task_id="peer", bucket_name=REPLICA, prefix="out/", aws_conn_id="aws_there", inactivity_period=0
    )
    assert unchanged.is_keys_unchanged(names) is False
    assert unchanged.is_keys_unchanged(set(names)) is True
    verdict = probe_of(lake, identity=("key", "size", "version_id")).begin()
    assert (verdict.status, verdict.arrived) == (Status.WAIT, 0)


def test_one_refused_request_is_the_end_of_a_peers_wait_and_not_of_ours(lake: Lake) -> None:
    lake.lay(3)
    lake.aws.fault("s3.HeadObject", "AccessDenied", times=1)
    with pytest.raises(ClientError):
        peer(bucket_key="out/part-00000").poke(NO_CONTEXT)
    lake.aws.fault("s3.ListObjectsV2", "AccessDenied", times=1)
    probe = probe_of(lake)
    assert probe.begin().status is Status.WAIT
    assert probe.begin().status is Status.READY
