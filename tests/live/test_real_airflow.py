"""Leases in a real Airflow: api-server, scheduler, dag-processor, triggerer and workers as processes."""

from __future__ import annotations

import os
import signal
import time

import psycopg
import pytest

from .conftest import SETTINGS, Live

pytestmark = pytest.mark.live


def wait_until(live: Live, condition, timeout=60.0):
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        live.supervisor.wait(0.2)
    return found


@pytest.fixture(scope="module", autouse=True)
def deferred_run(live):
    """Started first: it takes a while, in which the other test has the workers for itself."""
    return "keeps_its_lease", live.airflow.client.trigger("keeps_its_lease")


def test_when_the_holder_of_node_b_is_killed_the_other_dag_gets_in_after_the_ttl_and_not_before(live):
    client, locks = live.airflow.client, live.locks
    first = ("node_b_first", client.trigger("node_b_first", conf={"node_b_seconds": 300}))
    (holder,) = wait_until(live, lambda: [lease for lease in locks.leases("node_b") if lease.state == "held"])
    second = ("node_b_second", client.trigger("node_b_second", conf={"node_b_seconds": 1}))
    wait_until(live, lambda: locks.queue("node_b"))

    os.kill(holder.context["pid"], signal.SIGKILL)
    live.supervisor.wait(0.5)  # a renewal that was under way may still arrive
    (orphan,) = locks.leases("node_b")
    assert orphan.token == holder.token

    states = live.airflow.wait_for_runs([first, second], timeout=120)

    assert states == {first: "failed", second: "success"}
    # Reserved for a task that waits in the triggerer, granted to one that has stayed on its worker.
    taken = [event for event in locks.history("node_b") if event.event in ("reserved", "granted")]
    (granted,) = [event for event in taken if event.token != orphan.token]
    waited = (granted.at - orphan.expires_at).total_seconds()
    assert 0 <= waited <= SETTINGS.skip_after + SETTINGS.poll_interval
    with psycopg.connect(live.dsn) as connection:
        rows = connection.execute("select dag_id, started_at, ended_at from demo.node_b_run order by token").fetchall()
    assert [(row[0], row[2] is not None) for row in rows] == [("node_b_first", False), ("node_b_second", True)]
    assert rows[1][1] >= orphan.expires_at


def test_a_lease_outlives_its_ttl_while_its_task_is_deferred(live, deferred_run):
    assert live.airflow.wait_for_runs([deferred_run], timeout=120) == {deferred_run: "success"}

    events = live.locks.history("kept")
    assert [event.event for event in reversed(events)] == ["granted", "released"]
    assert events[0].held > 2 * 15, "it was to be held for longer than it lives without renewal"
    log = live.airflow.client.task_log(*deferred_run, "wait_deferred")
    assert "Pausing task as DEFERRED" in log
