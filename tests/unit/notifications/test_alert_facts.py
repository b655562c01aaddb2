"""The facts of a failure are complete where they can be, and safe to send anywhere."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_lockprovider.lease.errors import LeaseLost
from airflow_lockprovider.lease.model import Lease, LeaseEvent
from airflow_lockprovider.notifications import lock_trace
from airflow_lockprovider.notifications.failure import failure_of
from airflow_lockprovider.notifications.lock_facts import LockFacts, Trace, facts_of
from airflow_lockprovider.notifications.text import presentable

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def context(**changes: Any) -> dict[str, Any]:
    ti = SimpleNamespace(
        id="owner-1",
        dag_id="nightly",
        run_id="manual__1",
        task_id="load",
        map_index=-1,
        try_number=2,
        max_tries=2,
        state="failed",
        start_date=NOON,
        end_date=NOON + timedelta(seconds=90),
        log_url="http://airflow/dags/nightly",
        task=SimpleNamespace(task_type="PythonOperator"),
    )
    vars(ti).update(changes.pop("ti", {}))
    return {"ti": ti, "logical_date": NOON, "exception": ValueError("boom"), "run_id": "manual__1", **changes}


def test_worker_context_gives_everything():
    detail = failure_of(context()).as_detail()

    assert [name for name, value in detail.items() if value is None] == ["map_index", "reason", "lock"]
    assert detail["title"] == "nightly.load failed"
    assert detail["duration_seconds"] == 90
    assert detail["exception"] == {"type": "ValueError", "message": "boom"}
    assert (detail["try_number"], detail["tries"]) == (2, 3)
    assert detail["logical_date"] == "2026-03-01T12:00:00+00:00"


def test_mapped_task_has_its_index_in_the_title():
    failure = failure_of(context(ti={"map_index": 0}))
    assert (failure.title, failure.map_index) == ("nightly.load[0] failed", 0)


@pytest.mark.parametrize(("number", "max_tries", "text"), [(1, 0, "1 of 1"), (2, 2, "2 of 3"), (3, 1, "3 of 3")])
def test_try_is_told_as_people_count(number, max_tries, text):
    assert failure_of(context(ti={"try_number": number, "max_tries": max_tries})).try_text == text


def test_dag_level_context_names_the_run_and_airflows_reason():
    failure = failure_of({"dag": SimpleNamespace(dag_id="nightly"), "run_id": "manual__1+2", "reason": "timed_out"})

    assert failure.level == "dag"
    assert failure.title == "DAG nightly failed: timed_out"
    assert failure.log_url is not None
    assert failure.log_url.endswith("/dags/nightly/runs/manual__1%2B2")
    assert failure.error_type is None


def test_deadline_context_is_plain_data_and_still_makes_an_alert():
    run = {"dag_id": "nightly", "dag_run_id": "manual__1", "logical_date": "2026-03-01T12:00:00Z", "state": "running"}
    failure = failure_of({"dag_run": run, "deadline": {"id": 1}})

    assert failure.title == "DAG nightly failed: deadline missed"
    assert (failure.run_id, failure.state, failure.logical_date) == ("manual__1", "running", NOON)


def test_empty_context_makes_an_alert_too():
    assert failure_of({}).as_detail()["level"] == "dag"


def test_newlines_cannot_get_into_the_title():
    assert "\n" not in failure_of({"reason": "a\nBcc: everybody@example.com"}).title


def test_secret_that_airflow_knows_is_masked():
    from airflow.sdk.log import mask_secret

    mask_secret("s3cr3t-of-the-alert-test")
    error = failure_of(context(exception=ValueError("login with s3cr3t-of-the-alert-test refused"))).error
    assert error == "login with *** refused"


def test_password_in_a_url_is_masked():
    assert presentable("at postgresql://etl:hunter22@db/dwh: down") == "at postgresql://etl:***@db/dwh: down"
    assert presentable("see http://host:8080/a@b") == "see http://host:8080/a@b"


def test_long_text_keeps_begin_and_end():
    text = presentable("begin" + "x" * 100_000 + "end", limit=1000)
    assert text.startswith("begin")
    assert text.endswith("end")
    assert len(text) < 1100
    assert "99008 characters left out" in text


def test_error_that_cannot_be_printed_does_not_stop_the_alert():
    class Odd(Exception):
        def __str__(self) -> str:
            raise KeyError("no text")

    assert presentable(Odd()) == "<Odd that cannot be printed: KeyError>"


def test_text_that_is_no_utf8_is_repaired():
    assert presentable("a\ud800b") == "a?b"


def lease(owner_id: str, token: int) -> Lease:
    return Lease("dwh.sales", owner_id, f"run-{owner_id}", token, 1, False, "held", 120, 90, NOON, NOON, waited=1.5)


def event(kind: str, token: int | None, *, by: str | None = None, why: str | None = None) -> LeaseEvent:
    return LeaseEvent(NOON, "dwh.sales", token, "me", "run-me", kind, 1.5, 9.0, by, why)


def test_task_that_gave_its_lease_back_is_not_told_who_came_next():
    trace = Trace((lease("other", 2),), (event("released", 1), event("granted", 1)))
    facts = facts_of("dwh.sales", "me", lease("me", 1), trace)

    assert (facts.token, facts.ending, facts.held_by) == (1, "released", ())
    assert str(facts) == "lock 'dwh.sales': held under token 1; waited 1.5 s; held 9.0 s; released"


def test_task_that_lost_its_lease_is_told_by_whom_and_who_has_it_now():
    trace = Trace((lease("other", 2),), (event("revoked", 1, by="ann", why="stuck"), event("granted", 1)))
    facts = facts_of("dwh.sales", "me", None, trace)

    assert (facts.token, facts.ending, facts.ended_by, facts.ended_because) == (1, "revoked", "ann", "stuck")
    assert facts.held_by == (("run-other", 2),)
    assert "revoked by ann (stuck)" in str(facts)


def test_task_whose_revoked_lease_still_drains_is_not_named_as_its_own_successor():
    trace = Trace((lease("me", 1),), (event("revoked", 1, by="ann", why="stuck"), event("granted", 1)))
    assert facts_of("dwh.sales", "me", lease("me", 1), trace).held_by == ()


def test_task_that_never_got_the_lock_has_no_token():
    facts = facts_of("dwh.sales", "me", lease("other", 2), Trace((lease("other", 2),), ()))
    assert (facts.token, facts.held_by) == (None, (("run-other", 2),))


def test_without_the_database_there_is_still_what_the_task_saw_itself():
    held = facts_of("dwh.sales", "me", lease("me", 1), Trace(problem="down"))
    waited = facts_of("dwh.sales", "me", lease("other", 2), Trace(problem="down"))

    assert (held.token, held.ending, held.problem) == (1, None, "down")
    assert (waited.token, waited.held_by) == (None, (("run-other", 2),))


def test_ending_of_an_earlier_lease_is_not_taken_for_this_one():
    trace = Trace((lease("me", 2),), (event("granted", 2), event("expired", 1), event("granted", 1)))
    facts = facts_of("dwh.sales", "me", lease("me", 2), trace)
    assert (facts.token, facts.ending) == (2, "held")


def test_lease_of_a_dead_owner_has_expired_though_nobody_has_written_it_down_yet():
    trace = Trace((), (event("granted", 1),))
    assert facts_of("dwh.sales", "me", None, trace).ending == "expired"
    assert facts_of("dwh.sales", "me", lease("me", 1), trace).ending == "expired"
    assert facts_of("dwh.sales", "me", lease("me", 2), trace).ending is None
    adopted = Trace((lease("other", 1),), (event("adopted", 1), event("granted", 1)))
    assert facts_of("dwh.sales", "me", None, adopted).ending is None


def test_task_without_a_lock_asks_no_database(monkeypatch):
    monkeypatch.setattr(lock_trace, "LeaseHook", None)
    assert lock_trace.lock_facts(SimpleNamespace(), SimpleNamespace(id="me"), ValueError()) is None


def test_silent_database_holds_the_alert_up_for_moments_only(database, monkeypatch):
    never = threading.Event()
    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", database)
    monkeypatch.setattr(lock_trace, "PATIENCE", 0.05)
    monkeypatch.setattr(lock_trace.LeaseHook, "leases", lambda self, *_, **__: never.wait(30))
    try:
        facts = lock_trace.lock_facts(None, SimpleNamespace(id="me"), LeaseLost("lost", lock_name="dwh.sales"))
    finally:
        never.set()
    assert facts == LockFacts("dwh.sales", problem="no answer within 0.05 s")


def test_missing_lock_tables_or_connection_are_told_in_the_alert(database, monkeypatch):
    error = LeaseLost("lost", lock_name="dwh.sales")
    ti = SimpleNamespace(id="me")
    monkeypatch.delenv("AIRFLOW_CONN_DWH_DEFAULT", raising=False)
    without_connection = lock_trace.lock_facts(None, ti, error)
    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", database)
    without_tables = lock_trace.lock_facts(None, ti, error)

    assert "connection 'dwh_default'" in str(without_connection and without_connection.problem)
    assert "airflow locks init" in str(without_tables and without_tables.problem)
