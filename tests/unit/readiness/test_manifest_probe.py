"""Waiting for all that a manifest names, on simulated S3."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_lockprovider.demo.aws import AwsSimulator
from airflow_lockprovider.readiness import write_manifest
from airflow_lockprovider.readiness.manifest import Manifest
from airflow_lockprovider.readiness.manifest_entry import ManifestEntry
from airflow_lockprovider.readiness.manifest_probe import ManifestProbe
from airflow_lockprovider.readiness.verdict import Status
from tests.simulated_aws import REPLICA, SOURCE, THERE, Lake

KEY = "out/_MANIFEST.json"


@pytest.fixture(autouse=True)
def _nothing_arrives_by_itself(aws: AwsSimulator) -> None:
    aws.configure(replication_stall=".")


def probe(lake: Lake, **settings: Any) -> ManifestProbe:
    """Of the replica, with the writer's manifest replicated first."""
    return ManifestProbe({"s3": lake.replica}, **{"bucket": REPLICA, "manifest": KEY, **settings})


def manifest_of(lake: Lake, **more: Any) -> None:
    """Written in the source, and taken to the replica; the requests are not counted."""
    write_manifest(lake.source, SOURCE, KEY, prefix="out/", **{"run_id": "r1", **more})
    carry(lake, KEY)
    lake.aws.reset("requests")


def carry(lake: Lake, key: str) -> None:
    content = lake.source.get_object(Bucket=SOURCE, Key=key)["Body"].read()
    lake.replica.put_object(Bucket=REPLICA, Key=key, Body=content)


def requests(lake: Lake) -> dict[str, int]:
    return lake.aws.requests().get("s3", {})


def test_everything_there_is_ready_at_the_first_look(lake: Lake) -> None:
    lake.lay(50)
    manifest_of(lake)
    verdict = probe(lake).begin()
    assert (verdict.status, verdict.expected, verdict.arrived) == (Status.READY, 50, 50)
    assert verdict.facts["manifest"] == f"s3://{REPLICA}/{KEY}"
    assert (verdict.facts["objects"], verdict.facts["run_id"]) == (50, "r1")
    assert verdict.lag is not None
    assert requests(lake) == {"GetObject": 1, "ListObjectsV2": 1}


@pytest.mark.parametrize(("count", "lists"), [(1000, 1), (1001, 1), (2500, 3)])
def test_the_first_look_costs_a_listing_per_thousand(lake: Lake, count: int, lists: int) -> None:
    lake.lay(count)
    manifest_of(lake)
    assert probe(lake).begin().status is Status.READY
    # One object alone is asked for, not listed.
    heads = {"HeadObject": 1} if count == 1001 else {}
    assert requests(lake) == {"GetObject": 1, "ListObjectsV2": lists, **heads}


def test_it_waits_for_the_manifest_itself(lake: Lake) -> None:
    waiting = probe(lake)
    verdict = waiting.begin()
    assert (verdict.status, waiting.must_begin) == (Status.WAIT, False)
    assert f"no manifest s3://{REPLICA}/{KEY} yet" in str(verdict)
    lake.lay(3)
    manifest_of(lake)
    assert waiting.step().status is Status.READY


def test_what_is_missing_is_named_and_then_asked_for_alone(lake: Lake) -> None:
    lake.lay(2000)
    keys = lake.write(3, first=2000)
    manifest_of(lake)
    waiting = probe(lake)
    verdict = waiting.begin()
    assert (verdict.status, verdict.expected, verdict.arrived) == (Status.WAIT, 2003, 2000)
    assert verdict.missing_sample == tuple(keys)
    lake.aws.reset("requests")
    carry(lake, keys[0])
    lake.aws.reset("requests")
    assert waiting.step().arrived == 2001
    assert requests(lake) == {"HeadObject": 3}
    for key in keys[1:]:
        carry(lake, key)
    lake.aws.reset("requests")
    assert waiting.step().status is Status.READY
    assert requests(lake) == {"HeadObject": 2}


def test_many_missing_are_listed_again_not_asked_for(lake: Lake) -> None:
    lake.lay(1500)
    lake.lay(1500, first=1500, buckets=(SOURCE,))
    manifest_of(lake)
    waiting = probe(lake)
    assert waiting.begin().arrived == 1500
    lake.lay(1495, first=1500, buckets=(REPLICA,))
    lake.aws.reset("requests")
    verdict = waiting.step()
    assert (verdict.arrived, verdict.pending) == (2995, 5)
    assert requests(lake)["ListObjectsV2"] <= 2
    assert "HeadObject" not in requests(lake)


def test_another_process_goes_on_where_the_first_one_was(lake: Lake) -> None:
    lake.lay(1500)
    keys = lake.write(1, first=1500)
    manifest_of(lake)
    first = probe(lake)
    before = first.begin()
    second = probe(lake)
    second.restore(json.loads(json.dumps(first.state())))
    after = second.step()
    assert (after.expected, after.arrived, after.missing_sample) == (before.expected, before.arrived, tuple(keys))
    assert after.facts == before.facts
    carry(lake, keys[0])
    assert second.step().status is Status.READY


def test_the_state_of_a_wait_for_the_manifest_can_be_carried_too(lake: Lake) -> None:
    first, second = probe(lake), probe(lake)
    first.begin()
    second.restore(first.state())
    assert second.step().status is Status.WAIT
    lake.lay(3)
    manifest_of(lake)
    assert second.step().status is Status.READY


def test_an_error_in_the_first_look_does_not_make_it_ready(lake: Lake) -> None:
    lake.lay(50, buckets=(SOURCE,))
    manifest_of(lake)
    for operation in ("s3.ListObjectsV2", "s3.GetObject"):
        once = {"retries": {"mode": "standard", "total_max_attempts": 1}}
        failing = ManifestProbe({"s3": lake.aws.client("s3", THERE, **once)}, bucket=REPLICA, manifest=KEY)
        lake.aws.fault(operation, "InternalError", times=1)
        assert failing.begin().status is Status.WAIT
        verdict = failing.step()
        assert (verdict.status, verdict.expected, verdict.arrived, verdict.errors) == (Status.WAIT, 50, 0, 1)
        assert failing.step().errors == 1


def test_a_copy_of_another_size_is_not_the_object(lake: Lake) -> None:
    lake.lay(50)
    lake.replica.put_object(Bucket=REPLICA, Key="out/part-00007", Body=b"leftover of last week")
    manifest_of(lake)
    verdict = probe(lake).begin()
    assert (verdict.status, verdict.arrived) == (Status.WAIT, 49)
    assert "1 object (out/part-00007) there with another size or version" in str(verdict)


def test_leftovers_that_no_manifest_names_do_not_matter(lake: Lake) -> None:
    lake.lay(50)
    lake.lay(1500, prefix="out/part-00010-old-", buckets=(REPLICA,))
    manifest_of(lake)
    assert probe(lake).begin().status is Status.READY


@pytest.mark.parametrize("count", [3, 50])
def test_version_ids_tell_an_overwritten_object_of_the_same_size(lake: Lake, count: int) -> None:
    lake.aws.configure(replication_stall=None, replication_delay=0, replication_jitter=0)
    lake.write(count)
    write_manifest(lake.source, SOURCE, KEY, prefix="out/")
    exact = probe(lake, identity=("key", "size", "version_id"))
    verdict = exact.begin()
    for _ in range(500):
        if verdict.status is Status.READY:
            break
        verdict = exact.step()
    assert verdict.status is Status.READY
    lake.replica.put_object(Bucket=REPLICA, Key="out/part-00001", Body=b"yy")
    assert probe(lake, identity=("key", "size")).begin().status is Status.READY
    assert probe(lake, identity=("key", "size", "version_id")).begin().missing_sample == ("out/part-00001",)


def test_a_manifest_without_version_ids_cannot_be_compared_by_them(lake: Lake) -> None:
    lake.lay(2)
    manifest_of(lake, version_ids=False)
    verdict = probe(lake, identity=("key", "size", "version_id")).begin()
    assert verdict.status is Status.MISCONFIGURED
    assert "the manifest has none for 'out/part-00000'" in verdict.reason


def test_a_manifest_that_is_replaced_meanwhile_ends_the_wait(lake: Lake) -> None:
    lake.lay(20)
    lake.lay(20, first=20, buckets=(SOURCE,))
    manifest_of(lake)
    first = probe(lake)
    first.begin()
    content = Manifest([ManifestEntry("out/other", 1)], bucket=SOURCE).to_bytes()
    lake.replica.put_object(Bucket=REPLICA, Key=KEY, Body=content)
    restarted = probe(lake)
    restarted.restore(first.state())
    verdict = restarted.step()
    assert verdict.status is Status.FAILED
    assert "was replaced or deleted while we waited" in verdict.reason


def test_an_empty_manifest_is_no_vacuous_success(lake: Lake) -> None:
    manifest_of(lake, min_objects=0)
    verdict = probe(lake).begin()
    assert (verdict.status, "names 0 objects, at least 1" in verdict.reason) == (Status.FAILED, True)
    assert probe(lake, min_objects=0).begin().status is Status.READY


def test_something_else_under_the_manifests_key_is_said(lake: Lake) -> None:
    lake.replica.put_object(Bucket=REPLICA, Key=KEY, Body=b"{}")
    verdict = probe(lake).begin()
    assert (verdict.status, "not a manifest" in verdict.reason) == (Status.MISCONFIGURED, True)


def test_a_missing_bucket_is_not_waited_for(lake: Lake) -> None:
    verdict = probe(lake, bucket="no-such-lake").begin()
    assert (verdict.status, "NoSuchBucket" in verdict.reason) == (Status.MISCONFIGURED, True)


def test_a_manifest_of_redshift_can_be_waited_for(lake: Lake) -> None:
    lake.lay(3)
    entries = [
        {"url": f"s3://{REPLICA}/out/part-0000{n}", "mandatory": True, "meta": {"content_length": n + 1}}
        for n in range(3)
    ]
    lake.replica.put_object(Bucket=REPLICA, Key="unloaded/manifest", Body=json.dumps({"entries": entries}).encode())
    assert probe(lake, manifest=f"s3://{REPLICA}/unloaded/manifest").begin().arrived == 3


def test_standing_still_is_said_once(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.write(2)
    manifest_of(lake)
    waiting = probe(lake, stall_after=60)
    assert not waiting.begin().stalled
    waiting._moved_at -= 100
    looks = [waiting.step(), waiting.step()]
    assert [(verdict.stalled, verdict.newly_stalled) for verdict in looks] == [(True, True), (True, False)]
    assert "nothing arrived for 1 min" in str(looks[0])
    carry(lake, "out/part-00000")
    assert not waiting.step().stalled


def test_the_state_of_100_000_objects_stays_small(lake: Lake) -> None:
    entries = [
        ManifestEntry(f"out/day={n % 365}/part-{n:08d}-{n * 7919 % 100_003:x}.parquet", n) for n in range(100_000)
    ]
    content = Manifest(entries, bucket=SOURCE).to_bytes(gzip=True)
    lake.replica.put_object(Bucket=REPLICA, Key=f"{KEY}.gz", Body=content)
    waiting = probe(lake, manifest=f"{KEY}.gz")
    lake.aws.fault("s3.ListObjectsV2", "InternalError", skip=3)  # what is there is of no interest here
    waiting.begin()
    assert len(waiting.state()) < 30_000
