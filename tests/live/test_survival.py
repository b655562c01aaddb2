"""Locked tasks survive what Airflow and people do to them, in a real Airflow. One run of it for all.

What needs no hand from outside is started first and looked at last, so that the runs share the time.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from airflow_lockprovider.demo.leash import descendants

from .conftest import Live
from .noting import notes

pytestmark = pytest.mark.live

BY_THEMSELVES = ["too_fast", "retries", "mapped", "group", "skips", "asks", "reschedules"]
SLOW = pytest.mark.deep  # left out of `make test`, part of `make live`


class Survival:
    """The DAGs of dags/survival.py, and what a test does to their tasks."""

    def __init__(self, live: Live) -> None:
        self.live, self.locks, self.client = live, live.locks, live.airflow.client
        folder = live.airflow.env["AIRFLOW__CORE__DAGS_FOLDER"]
        self.file = Path(folder) / "survival.notes"
        self.runs: dict[str, tuple[str, str]] = {}

    def start(self, dag: str, **conf: object) -> tuple[str, str]:
        dag_id = f"survival_{dag}"
        return dag_id, self.client.trigger(dag_id, conf=conf)

    def until(self, condition, timeout=60.0):
        deadline = time.monotonic() + timeout
        while not (found := condition()):
            assert time.monotonic() < deadline, "it did not happen"
            self.live.supervisor.wait(0.2)
        return found

    def ended(self, run, timeout=90.0) -> str:
        return self.live.airflow.wait_for_runs([run], timeout=timeout)[run]

    def holder(self, lock):
        return self.until(lambda: [lease for lease in self.locks.leases(lock) if lease.state == "held"])[0]

    def waiter(self, lock):
        return self.until(lambda: self.locks.queue(lock))[0]

    def noted(self, run_word: str, word: str) -> list[float]:
        return [float(line[0]) for line in notes(self.file, word) if run_word in line[1]]

    def task(self, run, task_id="work", map_index=-1):
        return next(
            ti for ti in self.client.task_instances(*run) if ti["task_id"] == task_id and ti["map_index"] == map_index
        )

    def mark(self, run, state, task_id="work") -> None:
        path = f"/api/v2/dags/{run[0]}/dagRuns/{run[1]}/taskInstances/{task_id}"
        self.client.request("PATCH", path, body={"new_state": state})

    def deferred(self, run) -> None:
        self.until(lambda: self.task(run)["state"] == "deferred")

    def events(self, lock) -> list[str]:
        return [event.event for event in reversed(self.locks.history(lock))]

    def never_two_at_once(self, dag: str, times: int) -> None:
        spans = sorted(zip(self.noted(dag, "begin"), self.noted(dag, "end"), strict=True))
        assert len(spans) >= times
        assert all(end <= begin for (_, end), (begin, _) in pairwise(spans)), spans


@pytest.fixture(scope="module")
def survival(live: Live) -> Iterator[Survival]:
    it = Survival(live)
    live.airflow.wait_until_healthy(["survival_body", "survival_backfill"])
    it.runs = {name: it.start(name) for name in BY_THEMSELVES}
    yield it
    if os.environ.get("SURVIVAL_NOTES"):
        print(it.file.read_text())


def other_holds(survival: Survival, lock: str):
    lease = survival.locks.try_acquire(lock, ttl=600, owner="the test")
    assert lease
    return lease


# People, while a worker holds the lock


@pytest.mark.parametrize("state", ["failed", "success"])
def test_a_task_that_is_marked_while_it_works_stops_and_the_next_gets_in(survival, state):
    lock = f"marked-{state}"
    run = survival.start("body", lock=lock, seconds=120, who=lock)
    holder = survival.holder(lock)
    next_run = survival.start("body", lock=lock, who=f"after-{lock}")
    survival.waiter(lock)

    survival.mark(run, state)

    assert survival.ended(next_run) == "success"
    assert survival.ended(run) == state
    (unwound,) = survival.noted(f"/{lock}/", "end")
    (begun,) = survival.noted(f"/after-{lock}/", "begin")
    assert unwound <= begun
    (released,) = [
        event for event in survival.locks.history(lock) if event.token == holder.token and event.event == "released"
    ]
    assert released.at.timestamp() - unwound < 5, "it was given back, it did not expire"


def test_a_task_cleared_while_it_works_stops_before_its_new_try_works(survival):
    run = survival.start("body", lock="cleared", seconds=120, who="cleared")
    first = survival.holder("cleared")

    survival.client.clear(*run, ["work"])

    assert survival.ended(run) == "success"
    ends, begins = survival.noted("/cleared/", "end"), survival.noted("/cleared/", "begin")
    assert (len(ends), len(begins)) == (2, 2)
    assert ends[0] <= begins[1]
    assert {event.owner_id for event in survival.locks.history("cleared")} > {first.owner_id}


# People, while a task waits in the triggerer


@SLOW
def test_a_waiting_task_that_is_marked_as_success_leaves_the_line(survival):
    lease = other_holds(survival, "given_up")
    run = survival.start("body", lock="given_up", who="given_up")
    survival.waiter("given_up")
    survival.deferred(run)

    survival.mark(run, "success")

    # At once, or after skip_after, if it was marked before a triggerer had its trigger.
    survival.until(lambda: not [waiter for waiter in survival.locks.queue("given_up") if waiter.alive])
    survival.locks.release(lease)
    assert survival.ended(run) == "success"
    assert survival.noted("/given_up/", "begin") == []
    assert survival.locks.try_acquire("given_up")


@SLOW
def test_a_waiting_task_that_is_cleared_waits_anew_and_its_old_place_is_given_up(survival):
    lease = other_holds(survival, "anew")
    run = survival.start("body", lock="anew", who="anew")
    old = survival.waiter("anew")
    survival.deferred(run)

    survival.client.clear(*run, ["work"])

    survival.until(lambda: [waiter for waiter in survival.locks.queue("anew") if waiter.owner_id != old.owner_id])
    survival.locks.release(lease)
    assert survival.ended(run) == "success"
    assert len(survival.noted("/anew/", "begin")) == 1
    assert survival.locks.leases("anew") == []


@SLOW
def test_when_its_dag_is_deleted_a_waiting_task_leaves_the_line(survival):
    lease = other_holds(survival, "deleted")
    run = survival.start("deleted", lock="deleted", who="deleted")
    survival.waiter("deleted")
    survival.deferred(run)

    survival.client.request("DELETE", f"/api/v2/dags/{run[0]}")

    survival.until(lambda: not [waiter for waiter in survival.locks.queue("deleted") if waiter.alive])
    survival.locks.release(lease)
    assert survival.locks.try_acquire("deleted")


def test_execution_timeout_does_not_count_the_waiting_but_the_work(survival):
    lease = other_holds(survival, "limit")
    waits_long = survival.start("short_limit", lock="limit", who="waits_long")
    survival.waiter("limit")
    works_long = survival.start("short_limit", lock="limit_too", seconds=60, who="works_long")

    assert survival.ended(works_long) == "failed"
    (begin,), (end,) = survival.noted("/works_long/", "begin"), survival.noted("/works_long/", "end")
    assert 7.5 <= end - begin < 30
    assert survival.locks.leases("limit_too") == []
    survival.until(lambda: survival.locks.queue("limit")[0].waited > 9)
    survival.locks.release(lease)
    assert survival.ended(waits_long) == "success"


# While the lease is kept in the triggerer


def test_a_deferred_task_marked_as_failed_stops_its_work_and_frees_the_lock(survival):
    run = survival.start("defers", lock="killed", seconds=600, who="killed")
    survival.until(lambda: survival.noted("/killed/", "trigger-started"))

    survival.mark(run, "failed")

    survival.until(lambda: survival.noted("/killed/", "trigger-killed"))
    survival.until(lambda: not survival.locks.leases("killed"))
    assert survival.events("killed") == ["granted", "released"]


@SLOW
def test_a_deferred_task_that_is_cleared_stops_its_work_and_does_not_wait_for_its_own_lease(survival):
    run = survival.start("defers", lock="cleared_too", seconds=600, who="cleared_too")
    survival.until(lambda: survival.noted("/cleared_too/", "trigger-started"))

    survival.client.clear(*run, ["work"])

    survival.until(lambda: survival.noted("/cleared_too/", "trigger-killed"))
    survival.until(lambda: len(survival.noted("/cleared_too/", "trigger-started")) == 2, timeout=80)
    events = survival.events("cleared_too")
    assert "released" in events
    assert "expired" not in events
    survival.mark(run, "failed")


def test_a_trigger_that_ends_its_task_by_itself_gives_the_lock_back(survival):
    run = survival.start("defers", lock="ended", end="task", who="ended")

    assert survival.ended(run) == "success"
    assert survival.locks.leases("ended") == []
    assert survival.noted("/ended/", "completed") == []


@SLOW
def test_a_deferral_that_times_out_fails_the_task_and_its_stale_trigger_does_no_harm(survival):
    run = survival.start("defers", lock="late", seconds=600, timeout=4, who="late")

    assert survival.ended(run) == "failed"
    assert survival.locks.leases("late") == []
    assert survival.events("late") == ["granted", "released"]
    successor = survival.locks.try_acquire("late", ttl=60)
    survival.live.supervisor.wait(4)  # the stale trigger would have been at work by now
    assert [lease.token for lease in survival.locks.leases("late")] == [successor.token]


@SLOW
def test_a_frozen_triggerer_that_wakes_up_does_not_take_the_lock_from_its_successor(survival):
    """Airflow 3.3.2 calls on_kill() on what another triggerer has taken over."""
    live = survival.live
    run = survival.start("defers", lock="frozen", seconds=75, who="frozen")
    survival.until(lambda: survival.noted("/frozen/", "trigger-started"))
    (token,) = [lease.token for lease in survival.locks.leases("frozen")]
    environment = {**live.airflow.env, "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10"}
    live.supervisor.start(
        "triggerer-2", live.airflow.command("triggerer", "--skip-serve-logs"), env=environment, cwd=live.airflow.home
    )
    frozen = descendants(live.supervisor.pids()["triggerer"])
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        survival.until(lambda: len(survival.noted("/frozen/", "trigger-started")) == 2, timeout=60)
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)

    assert survival.ended(run, timeout=150) == "success"
    assert survival.noted("/frozen/", "trigger-killed") == []
    assert survival.events("frozen") == ["granted", "released"]
    assert {event.token for event in survival.locks.history("frozen")} == {token}


# By themselves


def test_events_that_fire_at_once_fail_no_task(survival):
    """3.3.2 fails a task whose trigger fires before the scheduler knows that its leg is over (#67287, #71580)."""
    run = survival.runs["too_fast"]
    assert survival.ended(run, timeout=120) == "success"
    assert len(survival.noted("survival_too_fast/", "completed")) == 2
    assert {task["try_number"] for task in survival.client.task_instances(*run)} == {1}


def test_the_lock_is_not_held_during_the_back_off_of_a_retry(survival):
    run = survival.runs["retries"]
    survival.until(lambda: survival.events("retries")[:2] == ["granted", "released"])

    assert survival.ended(run) == "success"
    events = [(event.event, event.at) for event in reversed(survival.locks.history("retries"))]
    assert [name for name, _ in events] == ["granted", "released", "granted", "released"]
    assert events[2][1] - events[1][1] > timedelta(seconds=5)


def test_mapped_tasks_take_turns(survival):
    assert survival.ended(survival.runs["mapped"]) == "success"
    survival.never_two_at_once("survival_mapped/", 2)


@SLOW
def test_the_runs_of_a_backfill_take_turns(survival):
    day = datetime(2026, 1, 5, tzinfo=UTC)
    survival.client.request(
        "POST",
        "/api/v2/backfills",
        body={
            "dag_id": "survival_backfill",
            "from_date": day.isoformat(),
            "to_date": (day + timedelta(days=1)).isoformat(),
            "max_active_runs": 3,
        },
    )
    survival.until(
        lambda: (
            [run["state"] for run in survival.client.runs("survival_backfill") if run["run_type"] == "backfill"]
            == ["success", "success"]
        ),
        timeout=120,
    )
    survival.never_two_at_once("survival_backfill/", 2)


def test_setup_and_teardown_keep_their_meaning_under_a_lock(survival):
    run = survival.runs["group"]
    assert survival.ended(run) == "failed"
    assert survival.client.task_states(*run) == {"begin": "success", "fails": "failed", "end": "success"}
    for lock in ("begin", "fails", "end"):
        assert survival.events(lock) == ["granted", "released"]


def test_branches_and_short_circuits_keep_their_meaning_under_a_lock(survival):
    run = survival.runs["skips"]
    assert survival.ended(run) == "success"
    assert survival.client.task_states(*run) == {
        "choose": "success",
        "shows": "success",
        "other": "skipped",
        "check": "success",
        "cut_off": "skipped",
    }
    assert survival.events("other") == survival.events("cut_off") == []


def test_the_ui_shows_the_real_token_and_the_log_has_a_line_for_each_step(survival):
    run = survival.runs["skips"]
    survival.ended(run)
    (granted,) = [event for event in survival.locks.history("shows") if event.event == "granted"]

    shown = survival.task(run, "shows")["rendered_fields"]
    log = survival.client.task_log(*run, "shows")

    assert shown["bash_command"] == f"echo {granted.token}"
    assert "are ours, waited 0.0 s" in log
    assert f"'shows' (token {granted.token})" in log
    assert f"lock 'shows' released: token {granted.token}, held" in log


def test_a_task_that_asks_a_person_gives_the_lock_back_meanwhile(survival):
    run = survival.runs["asks"]
    survival.until(lambda: survival.task(run)["state"] == "awaiting_input")
    assert survival.events("asks") == ["granted", "released"]
    path = f"/api/v2/dags/{run[0]}/dagRuns/{run[1]}/taskInstances/work/-1/hitlDetails"
    survival.client.request("PATCH", path, body={"chosen_options": ["yes"]})

    assert survival.ended(run) == "success"
    assert survival.events("asks") == ["granted", "released"] * 2


def test_a_sensor_gives_the_lock_back_between_its_pokes(survival):
    run = survival.runs["reschedules"]
    assert survival.ended(run) == "success"
    events = survival.events("reschedules")
    assert events == ["granted", "released"] * (len(events) // 2)
    assert len(events) >= 4
    tokens = [event.token for event in reversed(survival.locks.history("reschedules")) if event.event == "granted"]
    assert tokens == sorted(set(tokens))
