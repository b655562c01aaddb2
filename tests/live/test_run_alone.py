"""One task alone in a real Airflow, by the button's own request: only that task worked, and it took its lock."""

from __future__ import annotations

import json
import urllib.request

import psycopg
import pytest

from .conftest import Live

pytestmark = [pytest.mark.live, pytest.mark.deep]


@pytest.fixture(scope="module")
def airflow(live: Live):
    live.airflow.wait_until_healthy(["node_b_first", "scoped_work"])
    return live.airflow


@pytest.fixture(scope="module")
def run_alone(airflow):
    """The POST of the tab, with a token as a program has it."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def post(path, body, **headers):
        request = urllib.request.Request(
            airflow.url + path,
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **headers},
        )
        with opener.open(request, timeout=30) as answer:
            return json.load(answer)

    token = post("/auth/token", {"username": airflow.user, "password": airflow.password})["access_token"]

    def run_alone(dag_id, task_id, **more):
        wish = {"dag_id": dag_id, "task_id": task_id, **more}
        authority = {"Authorization": f"Bearer {token}", "X-Lockprovider": "1"}
        return post("/lockprovider/api/run-alone", wish, **authority)

    return run_alone


def test_only_the_chosen_task_runs_and_it_takes_its_lock(live, airflow, run_alone):
    made = run_alone("node_b_first", "node_b", conf={"node_b_seconds": 1})
    run = ("node_b_first", made["run_id"])

    assert set(airflow.wait_for_runs([run], timeout=120).values()) == {"success"}

    tasks = {each["task_id"]: each for each in airflow.client.task_instances(*run)}
    assert {name: each["state"] for name, each in tasks.items()} == {
        "start": "success",
        "node_a": "success",
        "node_b": "success",
        "node_c": "skipped",
        "end": "skipped",
    }
    tries = {name: each["try_number"] for name, each in tasks.items()}
    assert tries == {"start": 0, "node_a": 0, "node_b": 1, "node_c": 0, "end": 0}, "the others were never started"
    assert not [name for name, each in tasks.items() if each["hostname"] and name != "node_b"]
    released, granted = [each for each in live.locks.history("node_b") if each.event != "guarded"]
    assert (released.event, granted.event) == ("released", "granted")
    assert granted.owner == f"node_b_first/{made['run_id']}/node_b#1"
    with psycopg.connect(live.dsn) as connection:
        rows = connection.execute("select token from demo.node_b_run where run_id = %s", [made["run_id"]]).fetchall()
    assert rows == [(granted.token,)], "it did its work, under that token"


def test_while_somebody_holds_the_lock_the_task_alone_waits_as_any_other(live, airflow, run_alone):
    with live.locks.hold("node_b"):
        made = run_alone("node_b_first", "node_b", conf={"node_b_seconds": 0})
        while not live.locks.queue("node_b"):
            live.supervisor.wait(0.2)
        assert airflow.client.task_states("node_b_first", made["run_id"])["node_b"] != "success"

    run = ("node_b_first", made["run_id"])
    assert set(airflow.wait_for_runs([run], timeout=120).values()) == {"success"}
    assert airflow.client.task_states(*run)["node_b"] == "success"


def test_a_member_of_a_scope_alone_takes_the_scopes_lock_and_gives_it_back(live, airflow, run_alone):
    made = run_alone("scoped_work", "sales.publish")
    run = ("scoped_work", made["run_id"])

    airflow.wait_for_runs([run], timeout=120)

    worked = {each["task_id"] for each in airflow.client.task_instances(*run) if each["try_number"]}
    assert worked == {"sales.publish", *made["with_tasks"]}
    assert airflow.client.task_states(*run)["sales.publish"] == "success"
    assert [event.event for event in live.locks.history("scoped_work", 2)] == ["released", "granted"]
    assert live.locks.leases("scoped_work") == []
