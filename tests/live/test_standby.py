"""Hand-over in a real Airflow: the next in line is on a worker before the lock becomes free."""

from __future__ import annotations

import psycopg
import pytest

from .conftest import Live

pytestmark = pytest.mark.live
SHORT = [f"short_{number}" for number in range(4)]


@pytest.fixture(scope="module")
def airflow(live: Live):
    live.airflow.wait_until_healthy([*SHORT, "long_holder", "long_waiter"])
    return live.airflow


def events(live, name):
    return list(reversed(live.locks.history(name)))


def gaps(events):
    """Seconds from each release to the start of the next one."""
    ends = [event.at for event in events if event.event == "released"]
    starts = [event.at for event in events if event.event in ("granted", "confirmed")][1:]
    return [(start - end).total_seconds() for end, start in zip(ends, starts, strict=False)]


def test_tasks_that_hold_a_lock_for_a_second_hand_it_over_from_worker_to_worker(live, airflow):
    runs = [(dag_id, airflow.client.trigger(dag_id)) for dag_id in SHORT]

    assert set(airflow.wait_for_runs(runs, timeout=120).values()) == {"success"}

    seen = events(live, "short")
    assert [event.event for event in seen] == ["granted", "released"] * len(SHORT), "nobody overlapped, nobody left"
    logs = [airflow.client.task_log(*run, "work") for run in runs]
    assert not any("Pausing task as DEFERRED" in log for log in logs)
    # One of them may have come when nobody held the lock; the others were there.
    assert sorted(gaps(seen))[0] < 0.5


def test_a_waiting_task_is_called_up_before_a_long_hold_ends_and_starts_at_once(live, airflow):
    client = airflow.client
    holder = ("long_holder", client.trigger("long_holder"))
    while not live.locks.leases("long"):
        live.supervisor.wait(0.2)
    waiter = ("long_waiter", client.trigger("long_waiter"))

    states = airflow.wait_for_runs([holder, waiter], timeout=120)

    assert set(states.values()) == {"success"}
    log = client.task_log(*waiter, "work")
    assert "Pausing task as DEFERRED" in log, "a wait of half a minute is no reason to stay on a worker"
    assert "called up for lock 'long'" in log
    assert [event.event for event in events(live, "long")] == ["granted", "released", "granted", "released"]
    (gap,) = gaps(events(live, "long"))
    assert gap < 1
    (task,) = client.task_instances(*waiter)
    assert task["try_number"] == 1, "a call-up is no retry"
    with psycopg.connect(live.dsn) as connection:
        ((calls, took),) = connection.execute(
            "select calls, extract(epoch from arrived_at - called_at) from lockprovider.standby"
            " where called_at is not null"
        ).fetchall()
    assert calls == 1
    assert 0 < took < 30
