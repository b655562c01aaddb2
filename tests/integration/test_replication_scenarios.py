"""The rules of replication against the simulated AWS, through real boto3 clients: one table, and special cases."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any

import pytest

from airflow_lockprovider.aws.list_pages import speed_up
from airflow_lockprovider.demo.aws import AwsSimulator
from airflow_lockprovider.readiness import replication_preflight, write_manifest
from airflow_lockprovider.readiness.replication import ReplicationProbe
from airflow_lockprovider.readiness.verdict import Status, Verdict
from tests.simulated_aws import HERE, REPLICA, SOURCE, THERE, Lake, make_bucket, rule

HOSTILE = ["ü/漢字/😀", "a b", "a+b", "a%2Bb", "new\nline", "a&b&amp;c", "<Contents>", "'\"", "=?#", " edge "]
KMS = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "arn:aws:kms:eu-central-1:123456789012:key/1"}


def probe_of(lake: Lake, **settings: Any) -> ReplicationProbe:
    clients = {
        "source": lake.aws.client("s3", HERE, retries={"total_max_attempts": 1}),
        "destination": lake.aws.client("s3", THERE, retries={"total_max_attempts": 1}),
    }
    return ReplicationProbe(
        {name: speed_up(client) for name, client in clients.items()},
        **{"source_bucket": SOURCE, "destination_bucket": REPLICA, "prefix": "out/", **settings},
    )


def end_of(probe: ReplicationProbe, *, looks: int = 100) -> Verdict:
    """Look until there is more to say than WAIT."""
    verdict = probe.begin()
    for _ in range(looks):
        if verdict.status is not Status.WAIT:
            break
        time.sleep(0.03)
        verdict = probe.begin() if probe.must_begin else probe.step()
    return verdict


def asked(aws: AwsSimulator) -> dict[str, int]:
    return aws.requests().get("s3", {})


@dataclass(frozen=True)
class Scenario:
    """``first`` happens before the wait begins, ``then`` between the first and the second look."""

    name: str
    ends: Status
    says: str = ""
    first: Callable[[Lake], object] = lambda lake: lake.write(20)
    then: Callable[[Lake], object] = lambda lake: None
    settings: tuple[tuple[str, Any], ...] = ()
    looks: int = 100


def stalled(lake: Lake) -> None:
    lake.aws.configure(replication_stall="part-")
    lake.write(20)


def put_with(**more: Any) -> Callable[[Lake], object]:
    return lambda lake: lake.source.put_object(Bucket=SOURCE, Key="out/odd", Body=b"1", **more)


def under(*rules: dict[str, Any]) -> Callable[[Lake], object]:
    def first(lake: Lake) -> None:
        lake.replicate(*rules)
        lake.write(3)

    return first


def older_than_the_rule(lake: Lake) -> None:
    lake.source.delete_bucket_replication(Bucket=SOURCE)
    lake.write(3)
    lake.replicate(rule())


def leads_elsewhere(lake: Lake) -> None:
    make_bucket(lake.aws, "third", THERE)
    under(rule("third"))(lake)


def without_versioning(lake: Lake) -> None:
    lake.write(3)
    lake.replica.put_bucket_versioning(Bucket=REPLICA, VersioningConfiguration={"Status": "Suspended"})


def a_replica_itself(lake: Lake) -> None:
    origin = make_bucket(lake.aws, "origin", HERE)
    configuration = {"Role": "arn:aws:iam::123456789012:role/crr", "Rules": [rule(SOURCE)]}
    origin.put_bucket_replication(Bucket="origin", ReplicationConfiguration=configuration)
    origin.put_object(Bucket="origin", Key="out/copied-on", Body=b"1")
    for _ in range(200):
        if "Contents" in lake.source.list_objects_v2(Bucket=SOURCE):
            return
        time.sleep(0.02)
    raise AssertionError("the copy did not come")


def deleted_there(lake: Lake) -> None:
    lake.write(20)
    for _ in range(200):
        if lake.replica.list_objects_v2(Bucket=REPLICA)["KeyCount"] == 20:
            break
        time.sleep(0.02)
    lake.replica.delete_object(Bucket=REPLICA, Key="out/part-00007")


def overwrite(lake: Lake) -> None:
    time.sleep(0.01)
    lake.source.put_object(Bucket=SOURCE, Key="out/part-00003", Body=b"something else")


def go_on(lake: Lake) -> None:
    lake.aws.configure(replication_stall=None)


FAILED, WRONG, READY, WAIT = Status.FAILED, Status.MISCONFIGURED, Status.READY, Status.WAIT
SCENARIOS = [
    Scenario("success", READY),
    Scenario("one object", READY, first=lambda lake: lake.write(1)),
    Scenario("empty", FAILED, "holds 0 objects, wanted at least 1", first=lambda lake: None),
    Scenario("empty as allowed", READY, "as allowed", first=lambda lake: None, settings=(("on_empty", "ready"),)),
    Scenario(
        "FAILED",
        FAILED,
        "FAILED for 2 objects (out/part-00003, out/part-00017)",
        first=lambda lake: (
            lake.aws.configure(replication_fail="part-000[01][37]$"),
            lake.write(4),
            lake.write(3, first=15),
        ),
        looks=30,
    ),
    Scenario(
        "stalled", WAIT, "oldest missing is out/part-00000", first=stalled, settings=(("stall_after", 1),), looks=40
    ),
    Scenario("older than the rule", FAILED, "older than the rule", first=older_than_the_rule, looks=1),
    Scenario("KMS left out", FAILED, "encrypted with KMS, which the rule leaves out", first=put_with(**KMS), looks=1),
    Scenario(
        "without the tag",
        FAILED,
        "(copy=yes)",
        first=under(rule(Filter={"And": {"Prefix": "out/", "Tags": [{"Key": "copy", "Value": "yes"}]}})),
        looks=1,
    ),
    Scenario("a replica itself", FAILED, "itself a replica", first=a_replica_itself, looks=1),
    Scenario(
        "no rule",
        WRONG,
        "no replication configuration",
        first=lambda lake: lake.source.delete_bucket_replication(Bucket=SOURCE),
        looks=0,
    ),
    Scenario("disabled rule", WRONG, "is not Enabled", first=under(rule(Status="Disabled")), looks=0),
    Scenario("wrong destination", WRONG, "rules lead to third", first=leads_elsewhere, looks=0),
    Scenario("rule for less", WRONG, "covers 'out/2026/' only", first=under(rule(prefix="out/2026/")), looks=0),
    Scenario("no versioning there", WRONG, "not Enabled on lake-replica", first=without_versioning, looks=0),
    Scenario("overwritten", FAILED, "source set changed", first=stalled, then=overwrite, looks=1),
    Scenario(
        "deleted",
        FAILED,
        "source set changed",
        first=stalled,
        then=lambda lake: lake.source.delete_object(Bucket=SOURCE, Key="out/part-00003"),
        looks=1,
    ),
    Scenario(
        "overwritten, waiting for the new one",
        READY,
        first=stalled,
        then=lambda lake: (overwrite(lake), go_on(lake)),
        settings=(("on_source_change", "refreeze"),),
    ),
    Scenario(
        "deleted, waiting no more",
        READY,
        first=stalled,
        then=lambda lake: (lake.source.delete_object(Bucket=SOURCE, Key="out/part-00003"), go_on(lake)),
        settings=(("on_source_change", "ignore"),),
    ),
    Scenario(
        "deleted there", FAILED, "COMPLETED on s3://lake/out/ but absent at s3://lake-replica", first=deleted_there
    ),
    Scenario(
        "leftovers",
        READY,
        first=lambda lake: (lake.replica.put_object(Bucket=REPLICA, Key="out/old", Body=b"1"), lake.write(3)),
    ),
    Scenario(
        "leftovers refused",
        FAILED,
        "holds 1 object (out/old) that are not in the set",
        first=lambda lake: (lake.replica.put_object(Bucket=REPLICA, Key="out/old", Body=b"1"), lake.write(3)),
        settings=(("strict_extra", True),),
        looks=0,
    ),
    Scenario(
        "throttling",
        READY,
        then=lambda lake: lake.aws.fault("s3.ListObjectsV2", "SlowDown", times=4),
    ),
    Scenario(
        "expired credentials",
        READY,
        then=lambda lake: (
            lake.aws.fault("s3.ListObjectsV2", "ExpiredToken", times=2),
            lake.aws.fault("s3.HeadObject", "ExpiredToken", times=2),
        ),
    ),
    Scenario(
        "no right to list there",
        WRONG,
        "allow s3:ListBucket for s3://lake-replica",
        then=lambda lake: lake.aws.fault("s3.ListObjectsV2", "AccessDenied", where="^lake-replica"),
        first=lambda lake: (lake.aws.configure(replication_stall="."), lake.write(20)),
        looks=5,
    ),
    Scenario(
        "version ids",
        READY,
        first=lambda lake: (lake.write(20), lake.write(20)),
        settings=(("identity", ("key", "size", "version_id")),),
    ),
    Scenario(
        "version ids, only the older ones arrived",
        WAIT,
        first=lambda lake: (
            lake.write(20),
            settle(lake, 20),
            lake.aws.configure(replication_stall="."),
            lake.write(20),
        ),
        settings=(("identity", ("key", "size", "version_id")),),
        looks=5,
    ),
]


def settle(lake: Lake, count: int) -> None:
    for _ in range(300):
        if sum(copy["status"] == "COMPLETED" for copy in lake.aws.replication_journal()) >= count:
            return
        time.sleep(0.02)
    raise AssertionError("the copies did not come")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_scenario(lake: Lake, scenario: Scenario) -> None:
    scenario.first(lake)
    lake.aws.reset("requests")
    probe = probe_of(lake, **dict(scenario.settings))
    verdict = probe.begin()
    if verdict.status is Status.WAIT:
        scenario.then(lake)
        for _ in range(scenario.looks):
            time.sleep(0.03)
            if (verdict := probe.step()).status is not Status.WAIT:
                break
    assert verdict.status is scenario.ends, verdict
    assert scenario.says in str(verdict)
    # After a HEAD that was refused with a bare 400, botocore looks for the bucket's region and tries once more itself.
    assert 0 <= sum(asked(lake.aws).get(each, 0) for each in READS) - verdict.requests <= verdict.errors


READS = (
    "ListObjectsV2",
    "ListObjectVersions",
    "HeadObject",
    "GetObject",
    "GetBucketReplication",
    "GetBucketVersioning",
    "GetBucketEncryption",
)


@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 2500])
@pytest.mark.parametrize("missing", [0, 5, 40])
def test_requests_of_the_first_look_and_of_the_later_ones(lake: Lake, count: int, missing: int) -> None:
    lake.lay(count - min(missing, count))
    lake.aws.configure(replication_stall=".")
    lake.write(min(missing, count), first=count - min(missing, count))
    lake.aws.reset("requests")
    probe = probe_of(lake)
    verdict = probe.begin()
    first = asked(lake.aws)
    assert sum(first.values()) == verdict.requests <= 2 * ceil(count / 1000) + 3
    assert "HeadObject" not in first
    assert verdict.pending == min(missing, count)
    for _ in range(5):
        unfinished = sum(not window.arrived for window in probe._windows)
        lake.aws.reset("requests")
        probe.step()
        later = asked(lake.aws)
        assert later.get("ListObjectsV2", 0) <= 2 * unfinished
        assert later.get("HeadObject", 0) <= 12 * unfinished
        assert not set(later) - {"ListObjectsV2", "HeadObject"}


def test_hostile_keys_arrive_like_any_other(lake: Lake) -> None:
    for key in HOSTILE:
        if "\n" not in key:  # moto's server cannot be asked for these, only list them
            lake.source.put_object(Bucket=SOURCE, Key=f"out/{key}", Body=b"1")
    lake.lay(1, prefix="out/new\nline/")
    verdict = end_of(probe_of(lake))
    assert (verdict.status, verdict.expected) == (Status.READY, len(HOSTILE))


def test_a_hostile_key_that_does_not_arrive_is_named(lake: Lake) -> None:
    lake.write(20)
    lake.lay(1, prefix="out/a b+c&d%2B/ü\n", buckets=(SOURCE,))
    lake.aws.configure(replication_stall=".")
    verdict = probe_of(lake).begin()
    assert verdict.pending >= 1
    assert "out/a b+c&d%2B/ü\npart-00000" in verdict.missing_sample


def test_nothing_is_frozen_again_after_a_restart(lake: Lake) -> None:
    lake.aws.configure(replication_stall="part-")
    lake.write(20)
    probe = probe_of(lake)
    probe.begin()
    lake.source.put_object(Bucket=SOURCE, Key="out/zz-later", Body=b"1")
    for _ in range(3):
        state, probe = probe.state(), probe_of(lake)
        probe.restore(state)
        assert probe.step().expected == 20
    lake.aws.configure(replication_stall="zz-later")
    settle(lake, 20)
    lake.aws.reset("requests")
    verdict = probe.step()
    assert (verdict.status, verdict.expected) == (Status.READY, 20)
    assert asked(lake.aws).get("GetBucketReplication", 0) == 0


def test_a_rule_disabled_midway_is_noticed(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.aws.configure(replication_stall="part-")
    lake.write(20)
    probe = probe_of(lake)
    probe.begin()
    lake.replicate(rule(Status="Disabled"))
    assert probe.step().status is Status.WAIT
    monkeypatch.setattr(replication_preflight, "AGAIN_AFTER", 0)
    verdict = probe.step()
    assert verdict.status is Status.MISCONFIGURED
    assert "is not Enabled (it was in order when the wait began)" in verdict.reason


def test_a_manifest_is_waited_for_exactly(lake: Lake) -> None:
    lake.write(30)
    settle(lake, 30)
    lake.aws.configure(replication_stall="part-0000[12]$")
    lake.write(30)
    written = write_manifest(lake.source, SOURCE, "meta/run-7.json", prefix="out/", run_id="run-7")
    lake.source.put_object(Bucket=SOURCE, Key="out/zz-not-of-this-run", Body=b"1")
    settle(lake, 58)
    lake.aws.reset("requests")
    probe = probe_of(lake, manifest=written.uri, identity=("key", "size", "version_id"))
    verdict = probe.begin()
    assert (verdict.status, verdict.arrived, verdict.expected) == (Status.WAIT, 28, 30)
    assert asked(lake.aws)["GetObject"] == 1
    lake.aws.configure(replication_stall=None)
    settle(lake, 60)
    verdict = probe.step()
    assert (verdict.status, verdict.facts["run_id"]) == (Status.READY, "run-7")


def test_version_ids_are_exact_over_many_windows_and_old_versions(lake: Lake) -> None:
    lake.lay(1001)
    lake.lay(1001)  # each bucket has other ids: nothing has arrived, whatever the sizes say
    verdict = probe_of(lake, identity=("key", "size", "version_id"), prefix="out/part-0").begin()
    assert (verdict.status, verdict.expected, verdict.arrived) == (Status.WAIT, 1001, 0)
    assert probe_of(lake).begin().status is Status.READY


def test_errors_on_the_way_are_counted_and_do_not_change_the_result(lake: Lake) -> None:
    lake.write(20)
    probe = probe_of(lake)
    for operation, code in (("s3.GetBucketReplication", "InternalError"), ("s3.ListObjectsV2", "disconnect")):
        lake.aws.fault(operation, code, times=1)
        assert (probe.begin().status, probe.must_begin) == (Status.WAIT, True)
    verdict = end_of(probe)
    assert (verdict.status, verdict.expected, verdict.errors) == (Status.READY, 20, 2)
