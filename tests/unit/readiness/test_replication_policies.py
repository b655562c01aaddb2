"""What is waited for, and what may happen to it meanwhile: manifests, version ids, changes, leftovers, rules."""

from __future__ import annotations

import random
from collections.abc import Mapping
from time import sleep
from typing import Any

import pytest
from fake_aws import FakeClientError, FakeClock, FakeS3, rule
from replicated import keys, probe_of

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness import bucket, replication_freeze
from airflow_lockprovider.readiness.manifest import Manifest
from airflow_lockprovider.readiness.manifest_entry import ManifestEntry
from airflow_lockprovider.readiness.replication import ReplicationProbe
from airflow_lockprovider.readiness.verdict import Status

VERSIONS = ("key", "size", "version_id")


def manifest_of(source: FakeS3, *names: str, **about: Any) -> Manifest:
    held = [source.objects[key] for key in names or source.objects]
    entries = [ManifestEntry(each["Key"], each["Size"], each["VersionId"], each["ETag"], rows=2) for each in held]
    return Manifest(entries, **{"bucket": "lake", "run_id": "r1", "written_at": "2026-01-31T06:00:00Z", **about})


def restarted(probe: ReplicationProbe, source: FakeS3, replica: FakeS3, **settings: Any) -> ReplicationProbe:
    again = probe_of(source, replica, **settings)
    again.restore(probe.state())
    return again


# -- manifest


def test_a_manifest_says_what_to_wait_for_and_the_source_is_not_listed(source: FakeS3, replica: FakeS3) -> None:
    source.put(*keys(2500), "out/other")
    source.put_content("out/_MANIFEST.json", manifest_of(source, *keys(2500)).to_bytes(gzip=True))
    source.copy_to(replica, *keys(2490))
    probe = probe_of(source, replica, manifest="out/_MANIFEST.json")
    verdict = probe.begin()
    assert (verdict.status, verdict.arrived, verdict.expected) == (Status.WAIT, 2490, 2500)
    assert source.requests == {"replication": 1, "encryption": 1, "get": 1}
    assert replica.requests["list"] == 3
    source.copy_to(replica, *keys(2500))
    verdict = probe.step()
    assert verdict.status is Status.READY
    assert verdict.facts == {
        "manifest": "s3://lake/out/_MANIFEST.json",
        "run_id": "r1",
        "rows": 5000,
        "bytes": 25_000,
    }


def test_another_process_reads_the_manifest_again_and_only_if_it_has_to(
    source: FakeS3, replica: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.put(*keys(5000))
    real = source.get_object

    def slowly(**arguments: Any) -> Any:
        sleep(0.05)
        return real(**arguments)

    monkeypatch.setattr(source, "get_object", slowly)
    source.put_content("meta/m.json", manifest_of(source).to_bytes())
    settings = {"manifest": "s3://lake/meta/m.json", "prefix": ""}
    probe = probe_of(source, replica, **settings)
    probe.begin()
    second = restarted(probe, source, replica, **settings)
    source.copy_to(replica, *keys(300))
    source.requests.clear()
    verdict = second.step()
    assert (verdict.arrived, source.requests["get"]) == (300, 1)
    source.copy_to(replica, *keys(5000))
    third = restarted(probe, source, replica, **settings)
    source.requests.clear()
    assert third.step().status is Status.READY
    assert source.requests["get"] == 0


def test_a_manifest_that_is_rewritten_meanwhile_ends_the_wait(source: FakeS3, replica: FakeS3) -> None:
    source.put(*keys(50))
    source.put_content("m.json", manifest_of(source, *keys(50)).to_bytes())
    probe = probe_of(source, replica, manifest="m.json")
    probe.begin()
    source.put_content("m.json", manifest_of(source, *keys(40)).to_bytes())
    verdict = restarted(probe, source, replica, manifest="m.json").step()
    assert verdict.status is Status.FAILED
    assert "m.json was rewritten while we waited" in verdict.reason


@pytest.mark.parametrize(
    ("change", "settings", "status", "said"),
    [
        ({"bucket": "elsewhere"}, {}, Status.MISCONFIGURED, "lists objects of elsewhere"),
        ({}, {"prefix": "in/"}, Status.MISCONFIGURED, "names 'out/part-00000', which is outside prefix='in/'"),
        ({}, {"min_objects": 51}, Status.FAILED, "holds 50 objects, wanted at least 51"),
        ({}, {"manifest": "absent.json"}, Status.FAILED, "no manifest s3://lake/absent.json"),
        ({}, {"manifest": "out/part-00000"}, Status.MISCONFIGURED, "not a manifest"),
    ],
)
def test_a_manifest_that_cannot_be_meant_is_refused(
    source: FakeS3, replica: FakeS3, change: Mapping[str, Any], settings: Any, status: Status, said: str
) -> None:
    source.put(*keys(50))
    source.objects["out/part-00000"]["Content"] = b"PAR1"
    source.put_content("m.json", manifest_of(source, *keys(50), **change).to_bytes())
    verdict = probe_of(source, replica, **{"manifest": "m.json", **settings}).begin()
    assert verdict.status is status
    assert said in verdict.reason


def test_a_manifest_without_version_ids_cannot_be_compared_by_them(source: FakeS3, replica: FakeS3) -> None:
    source.put("out/a")
    source.put_content("m.json", Manifest([ManifestEntry("out/a", 10)], "lake").to_bytes())
    verdict = probe_of(source, replica, manifest="m.json", identity=VERSIONS).begin()
    assert verdict.status is Status.MISCONFIGURED
    assert "has none for 'out/a'" in verdict.reason


def test_an_overwrite_is_seen_through_the_manifests_version_ids(source: FakeS3, replica: FakeS3) -> None:
    source.put(*keys(5))
    source.put_content("m.json", manifest_of(source, *keys(5)).to_bytes())
    source.put("out/part-00001")
    source.copy_to(replica)
    probe = probe_of(source, replica, manifest="m.json", identity=VERSIONS)
    assert probe.begin().arrived == 4
    verdict = probe.step()
    assert verdict.status is Status.FAILED
    assert "source set changed while we waited: 1 object (out/part-00001)" in verdict.reason


def test_an_ignored_change_to_what_a_manifest_names_stays_ignored_after_a_restart(
    source: FakeS3, replica: FakeS3
) -> None:
    source.put(*keys(50))
    source.put_content("m.json", manifest_of(source, *keys(50)).to_bytes())
    settings = {"manifest": "m.json", "on_source_change": "ignore"}
    probe = probe_of(source, replica, **settings)
    probe.begin()
    del source.objects["out/part-00007"]
    for _ in range(8):
        probe.step()
    again = restarted(probe, source, replica, **settings)
    source.copy_to(replica, *(set(keys(50)) & set(source.objects)))
    verdict = again.step()
    assert (verdict.status, verdict.expected, verdict.facts["dropped"]) == (Status.READY, 49, 1)


def test_a_manifest_of_which_nearly_all_has_changed_is_outdated_also_when_changes_are_ignored(
    source: FakeS3, replica: FakeS3
) -> None:
    names = [f"out/{at:03d}-" + "x" * 200 for at in range(60)]
    source.put(*names)
    source.put_content("m.json", manifest_of(source).to_bytes())
    probe = probe_of(source, replica, manifest="m.json", on_source_change="ignore")
    probe.begin()
    for key in names:
        del source.objects[key]
    verdicts = [probe.step() for _ in range(5)]
    assert verdicts[-1].status is Status.FAILED
    assert "objects of the manifest have changed: it is outdated" in verdicts[-1].reason


# -- changes on the source


@pytest.mark.parametrize("count", [5, 50, 1500])
@pytest.mark.parametrize("policy", ["fail", "refreeze", "ignore"])
def test_objects_added_among_the_frozen_ones_are_not_part_of_the_set(
    source: FakeS3, replica: FakeS3, clock: FakeClock, count: int, policy: str
) -> None:
    source.put(*keys(count))
    probe = probe_of(source, replica, on_source_change=policy)
    probe.begin()
    clock.sleep(5)
    source.put("out/part-00002-late")
    verdict = probe.step()
    assert (verdict.status, verdict.expected) == (Status.WAIT, count)
    source.copy_to(replica, *keys(count))
    assert probe.step().status is Status.READY


@pytest.mark.parametrize("count", [5, 50])
def test_ignore_waits_no_more_for_what_was_overwritten_or_deleted(
    source: FakeS3, replica: FakeS3, clock: FakeClock, count: int
) -> None:
    source.put(*keys(count))
    probe = probe_of(source, replica, on_source_change="ignore")
    probe.begin()
    clock.sleep(5)
    source.put("out/part-00001", size=99)
    del source.objects["out/part-00002"]
    assert probe.step().status is Status.WAIT
    source.copy_to(replica, *(key for key in source.objects if key != "out/part-00001"))
    verdict = probe.step()
    assert (verdict.status, verdict.expected) == (Status.READY, count - 2)
    assert "bytes" not in verdict.facts


def test_ignoring_cannot_shrink_the_set_below_what_is_wanted(source: FakeS3, replica: FakeS3) -> None:
    source.put(*keys(5))
    probe = probe_of(source, replica, on_source_change="ignore", min_objects=5)
    probe.begin()
    del source.objects["out/part-00002"]
    verdict = probe.step()
    assert verdict.status is Status.FAILED
    assert "holds 4 objects, wanted at least 5" in verdict.reason


@pytest.mark.parametrize("seed", range(120))
def test_ready_is_never_said_before_all_is_there_and_is_said_when_it_is(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Any history of writes, copies and deletions: READY means that what the policy waits for is there."""
    monkeypatch.setattr(bucket, "WINDOW_KEYS", 7)
    chance = random.Random(seed)
    clock = FakeClock()
    source, replica = FakeS3(clock), FakeS3(clock)
    source.rules = [rule()]
    policy = chance.choice(["refreeze", "ignore"])
    names = keys(chance.choice([3, 20, 60]))
    source.put(*names)
    settings = {"identity": VERSIONS, "on_source_change": policy, "workers": 2, "min_objects": 0}
    probe = probe_of(source, replica, **settings)
    frozen = {key: source.objects[key]["VersionId"] for key in names}
    verdict = probe.begin()
    for _ in range(60):
        if verdict.status is not Status.WAIT:
            break
        clock.sleep(chance.choice([0, 1, 7]))
        there = list(source.objects)
        match chance.randrange(5):
            case 0 if there and chance.random() < 0.3:
                source.put(chance.choice(there), size=chance.randrange(3))
            case 1 if there and chance.random() < 0.3:
                del source.objects[chance.choice(there)]
            case 2:
                source.put(f"{chance.choice(names)}-late")
            case 3:
                probe = restarted(probe, source, replica, **settings)
            case _:
                source.copy_to(replica, *chance.sample(there, len(there) // 2)) if len(there) > 1 else None
        verdict = probe.step()
    else:
        source.copy_to(replica)
        verdict = next(each for _ in range(9) if (each := probe.step()).status is not Status.WAIT)
    assert verdict.status is Status.READY
    for key, version in frozen.items():
        now = source.objects.get(key)
        if now is not None and now["VersionId"] == version:
            assert replica.objects[key]["VersionId"] == version


# -- leftovers


@pytest.mark.parametrize("extra", ["out/a-first", "out/part-00003x", "out/zz-last"])
@pytest.mark.parametrize("count", [5, 2000])
def test_leftovers_at_the_destination_are_refused_by_name_when_strict(
    source: FakeS3, replica: FakeS3, extra: str, count: int
) -> None:
    source.put(*keys(count))
    source.copy_to(replica)
    replica.put(extra)
    verdict = probe_of(source, replica, strict_extra=True).begin()
    assert verdict.status is Status.FAILED
    assert f"s3://replica/out/ holds 1 object ({extra}) that are not in the set" in verdict.reason


def test_leftovers_are_waited_out_while_the_rule_replicates_deletions(source: FakeS3, replica: FakeS3) -> None:
    source.rules = [rule() | {"DeleteMarkerReplication": {"Status": "Enabled"}}]
    source.put(*keys(50))
    source.copy_to(replica)
    replica.put("out/part-00003x")
    probe = probe_of(source, replica, strict_extra=True)
    assert probe.begin().status is Status.WAIT
    verdict = restarted(probe, source, replica, strict_extra=True).step()
    assert (verdict.status, verdict.reason) == (Status.WAIT, "1 only at the destination, to be deleted")
    del replica.objects["out/part-00003x"]
    assert probe.step().status is Status.READY


def test_leftovers_are_not_forgotten_while_the_last_keys_are_asked_for_one_by_one(
    source: FakeS3, replica: FakeS3
) -> None:
    source.rules = [rule() | {"DeleteMarkerReplication": {"Status": "Enabled"}}]
    source.put(*keys(5))
    replica.put("out/leftover")
    probe = probe_of(source, replica, strict_extra=True)
    probe.begin()
    source.copy_to(replica)
    assert [probe.step().status for _ in range(3)] == [Status.WAIT] * 3
    del replica.objects["out/leftover"]
    assert probe.step().status is Status.READY


def test_strict_is_content_with_just_the_set_and_its_manifest(source: FakeS3, replica: FakeS3) -> None:
    source.put(*keys(50))
    source.put_content("out/_MANIFEST.json", manifest_of(source).to_bytes())
    source.copy_to(replica)
    settings = {"strict_extra": True, "manifest": "out/_MANIFEST.json"}
    assert probe_of(source, replica, **settings).begin().status is Status.READY


# -- the rule


def test_a_rule_that_is_disabled_meanwhile_is_noticed_within_ten_minutes(
    source: FakeS3, replica: FakeS3, clock: FakeClock
) -> None:
    source.put(*keys(50))
    probe = probe_of(source, replica)
    probe.begin()
    source.rules = [rule(status="Disabled")]
    for _ in range(10):
        clock.sleep(59)
        assert probe.step().status is Status.WAIT
    clock.sleep(59)
    verdict = restarted(probe, source, replica).step()
    assert verdict.status is Status.MISCONFIGURED
    assert "is not Enabled (it was in order when the wait began)" in verdict.reason
    assert verdict.expected == 50


def test_a_rule_that_stays_is_asked_for_every_ten_minutes_only(
    source: FakeS3, replica: FakeS3, clock: FakeClock
) -> None:
    source.put(*keys(50))
    probe = probe_of(source, replica)
    probe.begin()
    for _ in range(60):
        clock.sleep(60)
        probe.step()
    assert source.requests["replication"] == 1 + 6


def test_what_has_arrived_is_ready_whatever_became_of_the_rule(
    source: FakeS3, replica: FakeS3, clock: FakeClock
) -> None:
    source.put(*keys(50))
    probe = probe_of(source, replica)
    probe.begin()
    source.rules = None
    source.copy_to(replica)
    clock.sleep(3600)
    assert probe.step().status is Status.READY


@pytest.mark.parametrize(
    ("change", "put", "said"),
    [
        ({}, {"encryption": "aws:kms"}, "encrypted with KMS, which the rule leaves out"),
        ({}, {"encryption": "aws:kms:dsse"}, "encrypted with KMS, which the rule leaves out"),
        (
            {"SourceSelectionCriteria": {"SseKmsEncryptedObjects": {"Status": "Enabled"}}},
            {"encryption": "aws:kms"},
            "older than the rule",
        ),
        ({"Filter": {"Tag": {"Key": "copy", "Value": "yes"}}}, {}, "the tag that the rule asks for (copy=yes)"),
        (
            {"Filter": {"And": {"Prefix": "out/", "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]}}},
            {},
            "(a=1 and b=2)",
        ),
        ({}, {"status": "REPLICA"}, "itself a replica"),
    ],
)
def test_why_an_object_is_not_eligible_is_said_as_far_as_it_can_be_seen(
    source: FakeS3, replica: FakeS3, change: dict[str, Any], put: dict[str, Any], said: str
) -> None:
    source.rules = [rule() | change]
    source.put("out/a", **{"status": None, **put})
    probe = probe_of(source, replica)
    probe.begin()
    verdict = probe.step()
    assert verdict.status is Status.FAILED
    assert said in verdict.reason
    assert "S3BatchReplicationOperator" in verdict.reason


def test_a_wider_rule_of_the_first_kind_covers_us(source: FakeS3, replica: FakeS3) -> None:
    old = {"ID": "v1", "Status": "Enabled", "Prefix": "ou", "Destination": {"Bucket": "arn:aws-cn:s3:::replica"}}
    source.rules = [rule(status="Disabled"), old]
    source.put("out/a")
    source.copy_to(replica)
    assert probe_of(source, replica).begin().status is Status.READY


def test_failed_among_several_destinations_gives_ours_fifteen_minutes(
    source: FakeS3, replica: FakeS3, clock: FakeClock
) -> None:
    source.rules = [rule(), rule("third")]
    source.put("out/a", status="FAILED")
    probe = probe_of(source, replica)
    probe.begin()
    clock.sleep(899)
    assert probe.step().status is Status.WAIT
    clock.sleep(1)
    assert probe.step().status is Status.FAILED


# -- tables


def test_an_iceberg_table_is_refused_with_the_reason_unless_its_bare_files_are_wanted(
    source: FakeS3, replica: FakeS3
) -> None:
    source.put("out/data/a.parquet", "out/metadata/00001-ab.metadata.json")
    source.copy_to(replica)
    verdict = probe_of(source, replica).begin()
    assert verdict.status is Status.MISCONFIGURED
    assert "Iceberg table (out/metadata/00001-ab.metadata.json)" in verdict.reason
    assert probe_of(source, replica, allow_iceberg=True).begin().status is Status.READY


def test_a_delta_table_is_waited_for_with_a_warning_at_the_beginning_and_at_the_end(
    source: FakeS3, replica: FakeS3
) -> None:
    source.put("out/_delta_log/00000000000000000001.json", "out/a.parquet")
    probe = probe_of(source, replica)
    noted = [len(probe.begin().notes), len(probe.step().notes)]
    source.copy_to(replica)
    noted.append(len(restarted(probe, source, replica).step().notes))
    assert noted == [1, 0, 1]


# -- the set itself


@pytest.mark.parametrize(("settings", "status"), [({}, Status.FAILED), ({"on_empty": "ready"}, Status.READY)])
def test_an_empty_set_is_ready_only_by_request(
    source: FakeS3, replica: FakeS3, settings: dict[str, Any], status: Status
) -> None:
    assert probe_of(source, replica, **settings).begin().status is status


def test_lag_is_counted_from_the_last_write(source: FakeS3, replica: FakeS3, clock: FakeClock) -> None:
    source.put("out/a")
    clock.sleep(100)
    source.put("out/b")
    clock.sleep(30)
    source.copy_to(replica)
    assert probe_of(source, replica).begin().lag == 30


def test_looking_once_asks_for_the_reason_too(source: FakeS3, replica: FakeS3) -> None:
    source.put("out/a", status="FAILED")
    verdict = probe_of(source, replica).look()
    assert verdict.status is Status.FAILED
    assert "out/a" in verdict.reason


@pytest.mark.parametrize("names", [("key",), ("size",), "key", (), ("key", "size", "crc32")])
def test_an_identity_without_key_and_size_is_refused(source: FakeS3, replica: FakeS3, names: Any) -> None:
    with pytest.raises(ConfigurationError, match="identity="):
        probe_of(source, replica, identity=names)


def test_versions_are_listed_when_they_are_compared(source: FakeS3, replica: FakeS3) -> None:
    source.put(*keys(1500))
    source.copy_to(replica)
    source.put("out/part-01200")
    probe = probe_of(source, replica, identity=VERSIONS)
    verdict = probe.begin()
    assert (verdict.status, verdict.arrived) == (Status.WAIT, 1499)
    source.copy_to(replica)
    assert probe.step().status is Status.READY


def test_a_key_that_holds_a_newline_does_not_break_the_log_line(source: FakeS3, replica: FakeS3) -> None:
    source.put("out/a\nb", status="FAILED")
    verdict = probe_of(source, replica).look()
    assert "\n" not in verdict.reason
    assert r"'out/a\nb'" in verdict.reason


def test_pages_do_not_pile_up_where_the_destination_is_slow(
    source: FakeS3, replica: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.put(*keys(20_000))
    ahead: list[int] = []
    real = FakeS3.list_objects_v2

    def slowly(self: FakeS3, **arguments: Any) -> Any:
        if self is replica:
            ahead.append(source.requests["list"] - replica.requests["list"])
        return real(self, **arguments)

    monkeypatch.setattr(FakeS3, "list_objects_v2", slowly)
    probe_of(source, replica, workers=1).begin()
    assert max(ahead) <= 5


def test_an_error_in_a_first_look_leaves_nothing_behind(source: FakeS3, replica: FakeS3) -> None:
    source.put(*keys(3000))
    replica.errors = [FakeClientError("ListObjectsV2", "SlowDown", 503)]
    probe = probe_of(source, replica)
    assert probe.begin().status is Status.WAIT
    assert probe.must_begin
    source.copy_to(replica)
    verdict = probe.begin()
    assert (verdict.status, verdict.expected, verdict.errors) == (Status.READY, 3000, 1)


def test_the_last_key_of_all_is_above_every_key() -> None:
    assert max([*keys(3), "out/\U0010fffd", "\uffff"]) < replication_freeze.LAST_KEY
