"""A scope in a real Airflow."""

from __future__ import annotations

import pytest

from .conftest import SETTINGS, Live
from .dags.scoped import PAUSE

pytestmark = pytest.mark.live


def wait_for(live: Live, condition, timeout=180.0):
    for _ in range(int(timeout / 0.2)):
        if found := condition():
            return found
        live.supervisor.wait(0.2)
    raise AssertionError("it did not happen")


@pytest.fixture(scope="module", autouse=True)
def dags(live):
    live.airflow.wait_until_healthy([f"scoped_{name}" for name in ("work", "other", "long", "mapped", "branch")])


@pytest.fixture(scope="module", autouse=True)
def work(live, dags):
    """Started first: it takes a while, in which the other test goes on."""
    return "scoped_work", live.airflow.client.trigger("scoped_work")


@pytest.fixture(scope="module", autouse=True)
def mapped(live, dags):
    return "scoped_mapped", live.airflow.client.trigger("scoped_mapped")


@pytest.fixture(scope="module", autouse=True)
def branch(live, dags):
    return "scoped_branch", live.airflow.client.trigger("scoped_branch")


def test_a_run_that_is_marked_failed_gives_its_scopes_lease_back(live):
    client, locks = live.airflow.client, live.locks
    run = ("scoped_long", client.trigger("scoped_long"))
    wait_for(live, lambda: client.task_states(*run)["sales.long"] == "running")
    (lease,) = locks.leases("scoped_long")

    client.request("PATCH", f"/api/v2/dags/{run[0]}/dagRuns/{run[1]}", body={"state": "failed"})

    wait_for(live, lambda: not locks.leases("scoped_long"))
    events = [(event.event, event.token) for event in reversed(locks.history("scoped_long"))]
    assert events == [("granted", lease.token), ("released", lease.token)]
    assert live.airflow.wait_for_runs([run], timeout=60) == {run: "failed"}


def test_a_scope_holds_its_lease_through_a_pause_without_workers_and_a_failure_and_lets_others_in_after_it(live, work):
    client, locks = live.airflow.client, live.locks
    assert SETTINGS.ttl < PAUSE
    (lease,) = wait_for(live, lambda: [one for one in locks.leases("scoped_work") if one.state == "held"])
    other = ("scoped_other", client.trigger("scoped_other"))

    states = live.airflow.wait_for_runs([work, other], timeout=180)

    assert states == {work: "failed", other: "success"}, "the run's state is that of its members"
    assert client.task_states(*work) == {
        "sales.acquire_lock": "success",
        "sales.stage": "success",
        "sales.publish": "success",
        "sales.fails": "failed",
        "sales.release_lock": "success",
        "sales.keep_lock": "success",
    }
    events = [(event.event, event.token) for event in reversed(locks.history("scoped_work")) if event.token]
    assert events[:2] == [("granted", lease.token), ("released", lease.token)]
    for name, attempt in (("stage", 2), ("publish", 1), ("fails", 1)):
        assert f"token {lease.token}" in client.task_log(*work, f"sales.{name}", try_number=attempt)
    (keeper,) = [one for one in client.task_instances(*work) if one["task_id"] == "sales.keep_lock"]
    assert keeper["pid"] is None, "the keeper must not have been on a worker"


def test_a_failed_member_that_goes_again_alone_takes_the_lock_itself(live, work):
    client = live.airflow.client
    body = {"dry_run": False, "dag_run_id": work[1], "only_failed": True}
    client.request("POST", "/api/v2/dags/scoped_work/clearTaskInstances", body=body)
    live.airflow.wait_for_runs([work], timeout=120)

    tries = {one["task_id"]: one["try_number"] for one in client.task_instances(*work)}
    assert (tries["sales.acquire_lock"], tries["sales.fails"]) == (1, 2)
    newest = live.locks.history("scoped_work")[0]
    assert (newest.event, newest.owner.split("/")[-1]) == ("released", "sales.fails#2")


def test_the_scopes_of_a_mapped_group_take_turns(live, mapped):
    assert live.airflow.wait_for_runs([mapped], timeout=180) == {mapped: "success"}

    events = [(event.event, event.token) for event in reversed(live.locks.history("scoped_mapped")) if event.token]
    first, second = sorted({token for _, token in events})
    of_the_first = [number for number, (_, token) in enumerate(events) if token == first]
    assert max(of_the_first) < min(number for number, (_, token) in enumerate(events) if token == second)
    logs = [live.airflow.client.task_log(*mapped, "load.sales.work", map_index=index) for index in (0, 1)]
    assert {token for token in (first, second) for log in logs if f"token {token}" in log} == {first, second}
    keepers = [one for one in live.airflow.client.task_instances(*mapped) if one["task_id"].endswith("keep_lock")]
    assert [one["pid"] for one in keepers] == [None, None]


def test_a_branch_that_chooses_nothing_does_not_give_the_lock_back_under_the_others(live, branch):
    assert live.airflow.wait_for_runs([branch], timeout=180) == {branch: "success"}

    tasks = {one["task_id"]: one for one in live.airflow.client.task_instances(*branch)}
    assert tasks["sales.not_chosen"]["state"] == "skipped"
    assert tasks["sales.release_lock"]["state"] == "success"
    assert (
        tasks["sales.release_lock"]["start_date"] > tasks["sales.slow"]["end_date"] > tasks["sales.choose"]["end_date"]
    )


@pytest.mark.deep  # left out of `make test`, part of `make live`
def test_a_run_that_is_cleared_while_it_works_begins_anew_when_the_old_tasks_have_stopped(live):
    client, locks = live.airflow.client, live.locks
    run = ("scoped_long", client.trigger("scoped_long"))
    wait_for(live, lambda: client.task_states(*run)["sales.long"] == "running")
    (old,) = locks.leases("scoped_long")

    body = {"dry_run": False, "dag_run_id": run[1], "only_failed": False}
    client.request("POST", f"/api/v2/dags/{run[0]}/clearTaskInstances", body=body)

    (new,) = wait_for(live, lambda: [one for one in locks.leases("scoped_long") if one.token > old.token])
    ends = [event.event for event in locks.history("scoped_long") if event.token == old.token]
    assert ends[0] == "released", "neither taken away nor left to its ttl"
    assert new.owner_id != old.owner_id
    wait_for(live, lambda: client.task_states(*run)["sales.long"] == "running")
    assert {one["try_number"] for one in client.task_instances(*run) if one["task_id"] == "sales.long"} == {2}
    client.request("PATCH", f"/api/v2/dags/{run[0]}/dagRuns/{run[1]}", body={"state": "failed"})
    wait_for(live, lambda: not locks.leases("scoped_long"))
