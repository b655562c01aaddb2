"""What a page shows: filtered, marked, sorted and cut, the same in every dialect."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_lockprovider.lease import LeaseEngine
from airflow_lockprovider.lease.model import Waiter
from airflow_lockprovider.lease.overview import Filter
from tests.conformance.dialects import Dialect


def _task(dag: str, task: str, run: str = "r1", **more: Any) -> dict[str, Any]:
    return {"dag_id": dag, "run_id": run, "task_id": task, **more}


def _names(rows: list[dict[str, Any]]) -> list[str]:
    return [row["lock_name"] for row in rows]


@pytest.fixture
def busy(engine: LeaseEngine) -> LeaseEngine:
    """Three locks held, one of them waited for, one paused, one free."""
    engine.try_acquire("dwh.sales", "one", owner="nightly/r1/load#1", context=_task("nightly", "load"))
    engine.enqueue("dwh.sales", owner_id="two", owner="backfill/r1/load#1", context=_task("backfill", "load"))
    engine.try_acquire("dwh.Stock", "three", owner="stock/r1/load#1", context=_task("stock", "load", map_index=2))
    engine.try_acquire("old%", "four", owner="psql", context={"expected_hold": 0.0001})
    engine.release(engine.try_acquire("free", "five"))
    engine.release(engine.try_acquire("paused", "six"))
    engine.pause("paused", by="ann", reason="the table moves")
    return engine


def test_every_lock_that_matters_is_there_once_and_a_free_one_is_not(busy: LeaseEngine) -> None:
    seen = busy.overview(watch_held=3600)
    rows = seen.rows
    assert sorted(_names(rows)) == ["dwh.Stock", "dwh.sales", "old%", "paused"]
    assert (seen.counts["leases"], seen.counts["rows"], seen.counts["paused"], seen.matching) == (3, 4, 1, 4)
    held = next(row for row in rows if row["lock_name"] == "dwh.sales")
    assert held["waiters"] == 1
    assert held["context"]["dag_id"] == "nightly"
    assert held["expires_in_seconds"] == pytest.approx(120, abs=5)
    paused = next(row for row in rows if row["lock_name"] == "paused")
    assert paused["token"] is None
    assert "the table moves" in paused["note"]


def test_a_search_takes_no_letter_for_a_pattern_and_no_case_for_a_difference(busy: LeaseEngine) -> None:
    def search(text: str) -> list[str]:
        return sorted(_names(busy.overview(Filter(search=text), watch_held=3600).rows))

    assert search("STOCK") == ["dwh.Stock"]
    assert search("%") == ["old%"]
    assert search("_") == []
    assert search("nightly/") == ["dwh.sales"]
    assert search("table moves") == ["paused"]


def test_a_task_sees_what_it_holds_and_what_it_waits_for(busy: LeaseEngine) -> None:
    def of(**task: Any) -> list[str]:
        return _names(busy.overview(Filter(**task), watch_held=3600).rows)

    assert of(dag_id="nightly") == ["dwh.sales"]
    assert of(dag_id="backfill", task_id="load") == ["dwh.sales"]
    assert of(dag_id="backfill", task_id="other") == []
    assert of(dag_id="stock", run_id="r1", task_id="load", map_index=2) == ["dwh.Stock"]
    assert of(dag_id="stock", run_id="r1", task_id="load", map_index=3) == []


def test_marks_say_what_needs_a_look(busy: LeaseEngine, dialect: Dialect) -> None:
    late = busy.try_acquire("late", "seven", ttl=120)
    dialect.query(
        "update lockprovider.lease set expires_at = expires_at - interval '100 seconds' where lock_name = 'late'"
    )
    dialect.query(
        "update lockprovider.lease set created_at = created_at - interval '1 minute' where lock_name = 'old%'"
    )
    assert late
    assert _names(busy.overview(watch_held=3600, mark="late").rows) == ["late"]
    assert _names(busy.overview(watch_held=3600, mark="too_long").rows) == ["old%"]
    assert _names(busy.overview(watch_held=3600, mark="waited").rows) == ["dwh.sales"]
    assert _names(busy.overview(watch_held=3600, mark="paused").rows) == ["paused"]
    counts = busy.overview(watch_held=3600).counts
    assert (counts["late"], counts["too_long"], counts["rows"]) == (1, 1, 5)
    nothing = busy.overview(watch_held=3600, mark="draining")
    assert (nothing.rows, nothing.counts, nothing.matching) == ([], counts, 0), "the counts stay"
    dialect.expire(late)
    (expired,) = busy.overview(watch_held=3600, mark="late").rows
    assert expired["expired"]
    assert not expired["late"]


def test_rows_come_sorted_and_in_pages(busy: LeaseEngine) -> None:
    by_owner = busy.overview(watch_held=3600, sort="owner", descending=True).rows
    assert [row["owner"] for row in by_owner if row["owner"]] == ["stock/r1/load#1", "psql", "nightly/r1/load#1"]
    by_token = busy.overview(watch_held=3600, sort="token", limit=2).rows
    assert [row["lock_name"] for row in by_token] == ["dwh.sales", "dwh.Stock"]
    rest = busy.overview(watch_held=3600, sort="token", limit=2, offset=2)
    assert [row["lock_name"] for row in rest.rows] == ["old%", "paused"]
    assert rest.matching == 4


def test_the_line_tells_why_also_where_the_reason_itself_was_not_asked_for(busy: LeaseEngine) -> None:
    busy.enqueue("dwh.sales", owner_id="eight", owner="reports/r1/load#1", context=_task("reports", "load"))
    busy.enqueue("dwh.Stock", owner_id="nine", owner="reports/r1/load#1", context=_task("reports", "load"))
    everybody = busy.line()
    assert everybody.waiters == _at_one_moment(busy.queue(), everybody.waiters)
    assert everybody.matching == 3
    seen = busy.line(Filter(search="REPORTS", lock_name="dwh.sales"))
    (waiter,) = seen.waiters
    assert (waiter.owner_id, waiter.position, seen.matching) == ("eight", 2, 1)
    assert [one.kind for one in waiter.blocked_by] == ["lease", "request"]
    assert waiter.blocked_by[1].what.startswith("backfill/r1/load#1")


def _at_one_moment(waiters: list[Waiter], moment: list[Waiter]) -> list[Waiter]:
    """The same, but for the time that passed between two looks."""
    return [replace(one, waited=other.waited) for one, other in zip(waiters, moment, strict=True)]


def test_the_line_of_a_task_is_what_it_waits_for_and_who_waits_for_what_is_shown_with_it(busy: LeaseEngine) -> None:
    busy.enqueue("dwh.Stock", owner_id="nine", owner="reports/r1/load#1", context=_task("reports", "load", map_index=2))

    def of(beside: tuple[str, ...] = (), **task: Any) -> list[str]:
        return [waiter.owner_id for waiter in busy.line(Filter(**task), beside=beside).waiters]

    assert of(dag_id="backfill") == ["two"]
    assert of(dag_id="backfill", task_id="other") == []
    assert of(dag_id="reports", run_id="r1", task_id="load", map_index=2) == ["nine"]
    assert of(dag_id="reports", run_id="r1", task_id="load", map_index=3) == []
    assert of(dag_id="nightly") == []
    assert of(dag_id="nightly", beside=("dwh.sales",)) == ["two"]
    assert sorted(of(dag_id="reports", beside=("dwh.sales",))) == ["nine", "two"]


def test_of_a_long_line_the_first_are_shown_and_all_are_counted(busy: LeaseEngine) -> None:
    for number in range(5):
        busy.enqueue("dwh.sales", owner_id=f"more {number}", owner=f"more {number}")
    seen = busy.line(Filter(lock_name="dwh.sales"), limit=3)
    assert [waiter.owner_id for waiter in seen.waiters] == ["two", "more 0", "more 1"]
    assert seen.matching == 6
    late = busy.line(Filter(lock_name="dwh.sales", search="more"), limit=1)
    assert ([waiter.position for waiter in late.waiters], late.matching) == ([2], 5)
    nobody = busy.line(Filter(lock_name="paused"))
    assert (nobody.waiters, nobody.matching) == ([], 0)


def test_history_is_filtered_by_lock_and_task_and_goes_on_where_it_ended(busy: LeaseEngine) -> None:
    newest = busy.events(limit=2)
    assert [(row["event"], row["lock_name"]) for row in newest] == [("paused", "paused"), ("released", "paused")]
    older = busy.events(before=newest[-1]["event_id"], limit=1)
    assert [(row["event"], row["lock_name"]) for row in older] == [("granted", "paused")]
    assert {row["lock_name"] for row in busy.events(Filter(lock_name="free"))} == {"free"}
    (granted,) = busy.events(Filter(dag_id="stock", task_id="load", map_index=2))
    assert granted["context"]["map_index"] == 2
    assert granted["at"].tzinfo is not None


def test_statistics_count_by_lock_and_by_task(busy: LeaseEngine, dialect: Dialect) -> None:
    by_lock = {row["lock_name"]: row for row in busy.lock_statistics(3600)}
    assert by_lock["free"]["grants"] == 1
    assert float(by_lock["free"]["held_avg"]) < 60
    assert [row["grants"] for row in busy.lock_statistics(3600, "free")] == [1]
    owners = {(row["lock_name"], row["dag_id"], row["task_id"]) for row in busy.owner_statistics(3600)}
    assert ("dwh.sales", "nightly", "load") in owners
    assert ("old%", None, "psql") in owners
    assert len(busy.owner_statistics(3600, Filter(dag_id="nightly"))) == 1
    dialect.query("update lockprovider.lease_event set at = at - interval '2 hours'")
    assert busy.lock_statistics(3600) == []
    assert busy.owner_statistics(3600) == []


def test_statistics_know_every_kind_of_event(engine: LeaseEngine, dialect: Dialect) -> None:
    told = [
        ("granted", None, 1), ("granted", None, 3), ("confirmed", None, 8), ("reserved", None, 99),
        ("released", 10, 50), ("revoked", 20, None), ("expired", 60, None), ("adopted", 5, None), ("lapsed", 7, None),
        ("released", None, None),
    ]  # fmt: skip
    for number in range(len(told) // 2):
        engine.release(engine.try_acquire("x", f"me {number}", owner="me"))
    numbers = dialect.query("select event_id from lockprovider.lease_event order by event_id")
    for event_id, (event, held, waited) in zip(numbers, told, strict=True):
        dialect.query(
            f"update lockprovider.lease_event set event = '{event}', held = {held or 'null'},"
            f" waited = {waited or 'null'} where event_id = {event_id}"
        )
    (by_lock,) = engine.lock_statistics(3600)
    (by_owner,) = engine.owner_statistics(3600)
    for row in (by_lock, by_owner):
        assert row["grants"] == 3
        assert float(row["held_avg"]) == 30
        assert float(row["held_total"]) == 95
        assert float(row["waited_avg"]) == 4
        assert float(row["waited_max"]) == 8
    assert (by_lock["expired"], by_lock["lapsed"], by_lock["revoked"]) == (1, 1, 1)
    assert by_lock["held_p95"] in (None, pytest.approx(56))
    assert (by_owner["lost"], float(by_owner["held_max"])) == (2, 60)


def test_who_resumes_a_lock_may_say_why(busy: LeaseEngine) -> None:
    busy.resume("paused", by="bob", reason="the table has moved")
    (event,) = busy.events(limit=1)
    assert (event["event"], event["actor"], event["reason"]) == ("resumed", "bob", "the table has moved")


def test_a_waiter_tells_its_task(busy: LeaseEngine) -> None:
    (waiter,) = busy.queue("dwh.sales")
    assert waiter.context["dag_id"] == "backfill"
