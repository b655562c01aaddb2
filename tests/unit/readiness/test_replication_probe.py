from __future__ import annotations

import json
import random
from math import ceil
from threading import Barrier
from typing import Any

import pytest
from fake_aws import FakeClientError, FakeClock, FakeS3, rule
from replicated import keys, probe_of

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.replication_finding import HEADS_PER_LIST
from airflow_lockprovider.readiness.verdict import Status


def requests(*sides: FakeS3) -> int:
    return sum(side.requests.total() for side in sides)


def forget(*sides: FakeS3) -> None:
    for side in sides:
        side.requests.clear()


def test_all_there_is_ready_at_the_first_look(source: FakeS3, replica: FakeS3) -> None:
    source.put(*keys(50))
    source.copy_to(replica)
    verdict = probe_of(source, replica).begin()
    assert verdict.status is Status.READY
    assert (verdict.expected, verdict.arrived, verdict.requests) == (50, 50, 5)


def test_the_first_look_counts_what_is_missing_and_names_the_oldest(
    source: FakeS3, replica: FakeS3, clock: FakeClock
) -> None:
    source.put("out/old")
    clock.sleep(240)
    source.put(*keys(50))
    source.copy_to(replica, *keys(30))
    verdict = probe_of(source, replica).begin()
    assert verdict.status is Status.WAIT
    assert str(verdict) == "30/51 arrived, 21 pending, oldest 4 min"
    assert verdict.missing_sample[0] == "out/old"


def test_becomes_ready_when_the_rest_arrives(source: FakeS3, replica: FakeS3) -> None:
    source.put(*keys(50))
    probe = probe_of(source, replica)
    assert probe.begin().status is Status.WAIT
    source.copy_to(replica, *keys(45))
    verdict = probe.step()
    assert (verdict.status, verdict.arrived) == (Status.WAIT, 45)
    source.copy_to(replica)
    assert probe.step().status is Status.READY


def test_extra_keys_at_the_destination_are_ignored(source: FakeS3, replica: FakeS3) -> None:
    source.put(*keys(1500))
    source.copy_to(replica)
    replica.put(*(f"{key}.old" for key in keys(1500)))
    assert probe_of(source, replica).begin().status is Status.READY


def test_an_older_copy_of_another_size_has_not_arrived(source: FakeS3, replica: FakeS3) -> None:
    replica.put("out/a", size=9)
    source.put("out/a", size=10)
    assert probe_of(source, replica).begin().arrived == 0


@pytest.mark.parametrize(
    ("compared", "status"), [("size", Status.READY), ("etag", Status.WAIT), ("version_id", Status.WAIT)]
)
def test_an_older_copy_of_the_same_size_is_told_apart_by_more_than_size(
    source: FakeS3, replica: FakeS3, compared: str, status: Status
) -> None:
    source.put("out/a", etag="yesterday")
    source.copy_to(replica)
    source.put("out/a", etag="today")
    assert probe_of(source, replica, identity=("key", "size", compared)).begin().status is status


def test_failed_objects_end_the_wait_by_name_and_say_how_to_repair(source: FakeS3, replica: FakeS3) -> None:
    source.put(*keys(50))
    probe = probe_of(source, replica)
    probe.begin()
    source.copy_to(replica, *(set(keys(50)) - {"out/part-00003", "out/part-00007"}))
    source.put("out/part-00003", "out/part-00007", status="FAILED")
    verdict = probe.step()
    assert verdict.status is Status.FAILED
    assert "2 objects (out/part-00003, out/part-00007)" in verdict.reason
    assert "S3 Batch Replication" in verdict.reason


def test_a_permission_that_fails_everything_shows_at_the_second_look(source: FakeS3, replica: FakeS3) -> None:
    source.put(*keys(10_000), status="FAILED")
    probe = probe_of(source, replica)
    assert probe.begin().status is Status.WAIT
    verdict = probe.step()
    assert verdict.status is Status.FAILED
    assert "and 115 more" in verdict.reason


def test_failed_for_another_destination_is_not_our_failure(source: FakeS3, replica: FakeS3) -> None:
    source.put("out/a")
    probe = probe_of(source, replica)
    probe.begin()
    source.copy_to(replica)
    source.objects["out/a"]["Status"] = "FAILED"
    assert probe.step().status is Status.READY


def test_pending_because_of_another_destination_does_not_hold_us_back_for_ever(source: FakeS3, replica: FakeS3) -> None:
    source.put("out/a")
    probe = probe_of(source, replica)
    probe.begin()
    source.copy_to(replica)
    source.objects["out/a"]["Status"] = "PENDING"
    assert Status.READY in [probe.step().status for _ in range(4)]


@pytest.mark.parametrize("status", [None, "REPLICA"])
def test_objects_that_no_rule_takes_end_the_wait_by_name(source: FakeS3, replica: FakeS3, status: str | None) -> None:
    source.put("out/a", "out/b")
    source.put("out/never", status=status)
    probe = probe_of(source, replica)
    probe.begin()
    verdict = probe.step()
    assert verdict.status is Status.FAILED
    assert "not eligible" in verdict.reason
    assert verdict.missing_sample == ("out/never",)


@pytest.mark.parametrize("spelling", ["COMPLETED", "COMPLETE"])
def test_completed_but_absent_is_believed_at_the_second_look(source: FakeS3, replica: FakeS3, spelling: str) -> None:
    source.put("out/a", status=spelling)
    probe = probe_of(source, replica)
    probe.begin()
    assert probe.step().status is Status.WAIT
    verdict = probe.step()
    assert verdict.status is Status.FAILED
    assert "absent at s3://replica" in verdict.reason


@pytest.mark.parametrize("count", [5, 50])
@pytest.mark.parametrize("change", ["overwritten", "deleted"])
def test_a_source_that_changes_while_we_wait_fails(
    source: FakeS3, replica: FakeS3, clock: FakeClock, change: str, count: int
) -> None:
    source.put(*keys(count))
    probe = probe_of(source, replica)
    probe.begin()
    clock.sleep(5)
    if change == "overwritten":
        source.put("out/part-00002", size=99)
    else:
        del source.objects["out/part-00002"]
    verdict = probe.step()
    assert verdict.status is Status.FAILED
    assert "the source set changed" in verdict.reason
    if change == "overwritten":
        assert "out/part-00002" in verdict.reason


@pytest.mark.parametrize("count", [5, 50])
def test_refreeze_waits_for_the_new_content_instead(source: FakeS3, replica: FakeS3, count: int) -> None:
    source.put(*keys(count))
    probe = probe_of(source, replica, on_source_change="refreeze")
    probe.begin()
    source.put("out/part-00002", size=99)
    del source.objects["out/part-00003"]
    assert probe.step().status is Status.WAIT
    source.copy_to(replica)
    verdicts = [probe.step() for _ in range(2)]
    assert verdicts[-1].status is Status.READY
    assert verdicts[-1].expected == count - 1


def test_an_empty_set_is_refused(source: FakeS3, replica: FakeS3) -> None:
    verdict = probe_of(source, replica).begin()
    assert verdict.status is Status.FAILED
    assert "s3://lake/out/ holds 0 objects, wanted at least 1" in verdict.reason


def test_an_empty_set_is_ready_when_that_is_allowed(source: FakeS3, replica: FakeS3) -> None:
    assert probe_of(source, replica, min_objects=0).begin().status is Status.READY


def test_fewer_objects_than_wanted_are_refused(source: FakeS3, replica: FakeS3) -> None:
    source.put(*keys(3))
    source.copy_to(replica)
    assert probe_of(source, replica, min_objects=4).begin().status is Status.FAILED


def test_keys_written_after_the_freeze_are_not_waited_for(source: FakeS3, replica: FakeS3) -> None:
    source.put(*keys(3))
    probe = probe_of(source, replica)
    probe.begin()
    source.copy_to(replica)
    source.put("out/zz-late")
    assert probe.step().status is Status.READY


# -- preflight


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (None, "no replication configuration"),
        ([rule("elsewhere")], "rules lead to elsewhere"),
        ([rule(status="Disabled")], "not Enabled"),
        ([rule(prefix="out/2026/")], "covers 'out/2026/' only"),
    ],
)
def test_preflight_refuses_rules_that_cannot_bring_our_objects(
    source: FakeS3, replica: FakeS3, rules: Any, said: str
) -> None:
    source.put(*keys(3))
    source.rules = rules
    verdict = probe_of(source, replica).begin()
    assert verdict.status is Status.MISCONFIGURED
    assert said in verdict.reason
    # The rule, and what was asked side by side with it: the replica's versioning, the first page of each bucket.
    assert requests(source, replica) <= 4


def test_preflight_names_the_bucket_without_versioning(source: FakeS3, replica: FakeS3) -> None:
    replica.versioning = "Suspended"
    verdict = probe_of(source, replica).begin()
    assert verdict.status is Status.MISCONFIGURED
    assert "versioning is not Enabled on replica" in verdict.reason


def test_a_wrong_rule_is_found_before_a_large_source_is_listed(source: FakeS3, replica: FakeS3) -> None:
    source.put(*keys(5000))
    source.rules = [rule("elsewhere")]
    assert probe_of(source, replica).begin().status is Status.MISCONFIGURED
    assert requests(source, replica) <= 4


def test_preflight_warns_of_a_bucket_that_encrypts_with_kms_while_the_rule_leaves_kms_out(
    source: FakeS3, replica: FakeS3
) -> None:
    source.encryption = "aws:kms"
    source.put(*keys(2))
    probe = probe_of(source, replica)
    verdict = probe.begin()
    assert verdict.status is Status.WAIT, "a writer may have asked for something else"
    assert "lake encrypts with KMS" in verdict.notes[0]
    source.copy_to(replica)
    assert "lake encrypts with KMS" in probe.step().notes[0], "whoever gets the result is told, too"


def test_preflight_does_not_ask_how_the_bucket_encrypts_when_the_rule_takes_all(
    source: FakeS3, replica: FakeS3
) -> None:
    source.encryption = "aws:kms"
    takes_kms = {"SourceSelectionCriteria": {"SseKmsEncryptedObjects": {"Status": "Enabled"}}}
    source.rules = [rule() | takes_kms]
    source.put(*keys(2))
    assert probe_of(source, replica).begin().notes == ()
    assert source.requests["encryption"] == 0


@pytest.mark.parametrize("status", [403, 404, 501])
def test_who_may_not_ask_how_the_bucket_encrypts_is_told_by_the_objects(
    source: FakeS3, replica: FakeS3, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    def refuse(**_: Any) -> None:
        raise FakeClientError("GetBucketEncryption", "AccessDenied", status)

    monkeypatch.setattr(source, "get_bucket_encryption", refuse)
    source.put(*keys(2), status=None, encryption="aws:kms")
    probe = probe_of(source, replica)
    verdict = probe.begin()
    assert (verdict.status, verdict.notes, verdict.errors) == (Status.WAIT, (), 0)
    assert "encrypted with KMS, which the rule leaves out" in probe.step().reason


def test_preflight_can_be_left_out(source: FakeS3, replica: FakeS3) -> None:
    source.rules = None
    source.put(*keys(3))
    source.copy_to(replica)
    assert probe_of(source, replica, preflight=False).begin().status is Status.READY


def test_directory_buckets_are_refused(source: FakeS3, replica: FakeS3) -> None:
    with pytest.raises(ConfigurationError, match="directory bucket"):
        probe_of(source, replica, source_bucket="lake--use1-az4--x-s3")


# -- cost


@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 2500, 10_000])
@pytest.mark.parametrize("arrived", [0.0, 0.5, 1.0])
def test_the_first_look_costs_two_lists_per_thousand_keys_and_three_requests(
    source: FakeS3, replica: FakeS3, count: int, arrived: float
) -> None:
    source.put(*keys(count))
    source.copy_to(replica, *random.Random(1).sample(keys(count), int(count * arrived)), "out/part-00000")
    verdict = probe_of(source, replica).begin()
    assert requests(source, replica) <= 2 * ceil(count / 1000) + 3
    assert verdict.requests == requests(source, replica)
    assert source.requests["head"] + replica.requests["head"] == 0


def test_both_buckets_are_asked_for_a_page_at_the_same_time(
    source: FakeS3, replica: FakeS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.put(*keys(3500))
    source.copy_to(replica)
    both = Barrier(2)
    for bucket in (source, replica):

        def list_together(listing: Any = bucket.list_objects_v2, **arguments: Any) -> Any:
            both.wait(timeout=30)  # raises if the other one is not asked meanwhile
            return listing(**arguments)

        monkeypatch.setattr(bucket, "list_objects_v2", list_together)
    assert probe_of(source, replica).begin().status is Status.READY


@pytest.mark.parametrize(
    ("extra", "pages"),
    [
        ([f"out/zzz-{at:05d}" for at in range(5000)], 2),  # above all that we want: read to our last key
        ([f"out/part-00700.{at:05d}" for at in range(5000)], 7),  # among them: they have to be passed
        ([f"out/aaa-{at:05d}" for at in range(5000)], 7),
    ],
)
def test_leftovers_at_the_destination_are_read_no_further_than_needed(
    source: FakeS3, replica: FakeS3, extra: list[str], pages: int
) -> None:
    source.put(*keys(1500))
    source.copy_to(replica)
    replica.put(*extra)
    assert probe_of(source, replica).begin().status is Status.READY
    assert source.requests["list"] == 2
    assert replica.requests["list"] == pages


@pytest.mark.parametrize("identity", [("key", "size"), ("key", "size", "version_id")])
@pytest.mark.parametrize("missing", [0, 1, 999, 1000, 1001, 2400])
def test_what_the_two_listings_do_not_share_is_missing(
    source: FakeS3, replica: FakeS3, identity: tuple[str, ...], missing: int
) -> None:
    source.put(*keys(2500))
    chosen = random.Random(missing).sample(keys(2500), missing)
    source.copy_to(replica, *(key for key in keys(2500) if key not in set(chosen)))
    verdict = probe_of(source, replica, identity=identity).begin()
    assert (verdict.expected, verdict.pending) == (2500, missing)
    assert set(verdict.missing_sample) <= set(chosen)


def test_later_looks_cost_only_what_is_unfinished(source: FakeS3, replica: FakeS3) -> None:
    source.put(*keys(10_000))
    late = keys(10_000)[2000:2400] + keys(10_000)[7000:7005]
    source.copy_to(replica, *(set(keys(10_000)) - set(late)))
    probe = probe_of(source, replica)
    assert probe.begin().pending == 405
    forget(source, replica)
    probe.step()
    assert (source.requests["list"], replica.requests["list"]) == (1, 1)
    assert source.requests["head"] == HEADS_PER_LIST + 5
    assert replica.requests["head"] == 0


def test_the_last_dozen_is_asked_for_key_by_key(source: FakeS3, replica: FakeS3) -> None:
    source.put(*keys(2500))
    source.copy_to(replica, *keys(2500)[12:])
    probe = probe_of(source, replica)
    probe.begin()
    forget(source, replica)
    probe.step()
    assert source.requests == {"head": 12}
    assert not replica.requests


def test_a_hundred_thousand_missing_keys_cost_at_most_120_heads_a_look(source: FakeS3, replica: FakeS3) -> None:
    source.put(*keys(99_999))
    replica_pages = ceil(99_999 / 1000)
    probe = probe_of(source, replica, workers=2)
    probe.begin()
    forget(source, replica)
    probe.step()
    assert source.requests["head"] <= 120
    assert source.requests["list"] + replica.requests["list"] <= 2 * replica_pages


def test_the_rotating_sample_reaches_every_key(source: FakeS3, replica: FakeS3) -> None:
    source.put(*keys(40))
    source.objects["out/part-00017"]["Status"] = "FAILED"
    probe = probe_of(source, replica)
    probe.begin()
    assert Status.FAILED in [probe.step().status for _ in range(4)]


# -- errors on the way


def test_transient_errors_are_tolerated_and_said(source: FakeS3, replica: FakeS3) -> None:
    source.put(*keys(50))
    probe = probe_of(source, replica)
    probe.begin()
    source.copy_to(replica)
    replica.errors = [FakeClientError("ListObjectsV2", "SlowDown", 503), TimeoutError("read timed out")]
    first, second, third = probe.step(), probe.step(), probe.step()
    assert (first.status, second.status, third.status) == (Status.WAIT, Status.WAIT, Status.READY)
    assert "error 1 of 10 tolerated: ListObjectsV2: SlowDown" in first.reason
    assert (first.errors, third.errors) == (1, 2)


def test_transient_errors_are_tolerated_with_a_bound(source: FakeS3, replica: FakeS3) -> None:
    source.put(*keys(50))
    probe = probe_of(source, replica, max_transient_errors=4)
    probe.begin()
    replica.errors = [FakeClientError("ListObjectsV2", "ExpiredToken", 400) for _ in range(9)]
    assert [probe.step().status for _ in range(4)] == [Status.WAIT] * 3 + [Status.FAILED]


def test_an_error_before_the_freeze_leaves_the_beginning_to_be_done(source: FakeS3, replica: FakeS3) -> None:
    source.put(*keys(5))
    source.errors = [FakeClientError("GetBucketReplication", "InternalError", 500)]
    probe = probe_of(source, replica)
    assert probe.begin().status is Status.WAIT
    assert probe.must_begin
    again = probe_of(source, replica)
    again.restore(probe.state())
    assert again.must_begin
    assert again.begin().expected == 5
    assert not again.must_begin


def test_three_refusals_in_a_row_name_the_missing_permission(source: FakeS3, replica: FakeS3) -> None:
    source.put(*keys(50))
    probe = probe_of(source, replica)
    probe.begin()
    replica.errors = [FakeClientError("ListObjectsV2", "AccessDenied", 403) for _ in range(3)]
    verdicts = [probe.step() for _ in range(3)]
    assert [verdict.status for verdict in verdicts] == [Status.WAIT, Status.WAIT, Status.MISCONFIGURED]
    assert "allow s3:ListBucket" in verdicts[-1].reason
    assert "for s3://replica" in verdicts[-1].reason


def test_a_missing_bucket_is_a_mistake_at_once(source: FakeS3, replica: FakeS3) -> None:
    source.errors = [FakeClientError("GetBucketReplication", "NoSuchBucket", 404)]
    verdict = probe_of(source, replica).begin()
    assert verdict.status is Status.MISCONFIGURED
    assert "check s3://lake" in verdict.reason


def test_an_error_of_our_own_is_not_swallowed(source: FakeS3, replica: FakeS3) -> None:
    source.errors = [KeyError("bug")]
    with pytest.raises(KeyError):
        probe_of(source, replica).begin()


def test_one_windows_error_does_not_waste_what_the_others_found(source: FakeS3, replica: FakeS3) -> None:
    source.put(*keys(3000))
    probe = probe_of(source, replica, workers=1)
    probe.begin()
    source.copy_to(replica)
    replica.errors = [FakeClientError("ListObjectsV2", "SlowDown", 503)]
    assert probe.step().arrived == 2000
    forget(source, replica)
    assert probe.step().status is Status.READY
    assert requests(source, replica) == 1


# -- time


def test_a_standstill_is_marked_and_an_arrival_ends_it(source: FakeS3, replica: FakeS3, clock: FakeClock) -> None:
    source.put(*keys(50))
    probe = probe_of(source, replica, stall_after=600)
    probe.begin()
    clock.sleep(599)
    assert not probe.step().stalled
    clock.sleep(1)
    verdict = probe.step()
    assert verdict.stalled
    assert verdict.reason == "nothing has arrived for 10 min; the oldest missing is out/part-00000"
    source.copy_to(replica, *keys(20))
    assert not probe.step().stalled


def test_a_standstill_is_told_once_also_over_a_restart(source: FakeS3, replica: FakeS3, clock: FakeClock) -> None:
    source.put(*keys(50))
    probe = probe_of(source, replica, stall_after=60)
    probe.begin()
    told = []
    for arrived in (0, 0, 0, 10, 10, 10):
        source.copy_to(replica, *keys(arrived)) if arrived else None
        clock.sleep(60)
        verdict = probe.step()
        told.append((verdict.stalled, verdict.newly_stalled))
        state, probe = probe.state(), probe_of(source, replica, stall_after=60)
        probe.restore(state)
    assert told == [(True, True), (True, False), (True, False), (False, False), (True, True), (True, False)]


# -- another process


def test_another_process_goes_on_with_the_same_set(source: FakeS3, replica: FakeS3, clock: FakeClock) -> None:
    source.put(*keys(2500))
    source.copy_to(replica, *keys(2500)[:1200])
    first = probe_of(source, replica, stall_after=600)
    first.begin()
    first.step()
    second = probe_of(source, replica, stall_after=600)
    second.restore(first.state())
    assert not second.must_begin
    forget(source, replica)
    clock.sleep(600)
    verdict = second.step()
    assert (verdict.expected, verdict.arrived) == (2500, 1200)
    assert verdict.stalled
    assert replica.requests["list"] == 2  # the window that had arrived is left alone
    source.put("out/part-00000x")
    source.copy_to(replica)
    assert second.step().status is Status.READY


def test_the_state_is_plain_text(source: FakeS3, replica: FakeS3) -> None:
    source.put(*keys(1500))
    probe = probe_of(source, replica)
    probe.begin()
    assert json.loads(probe.state())["windows"].isascii()


def test_errors_in_a_row_are_counted_over_processes(source: FakeS3, replica: FakeS3) -> None:
    source.put(*keys(50))
    probe = probe_of(source, replica)
    probe.begin()
    statuses = []
    for _ in range(3):
        replica.errors = [FakeClientError("ListObjectsV2", "AccessDenied", 403)]
        state, probe = probe.state(), probe_of(source, replica)
        probe.restore(state)
        statuses.append(probe.step().status)
    assert statuses == [Status.WAIT, Status.WAIT, Status.MISCONFIGURED]
