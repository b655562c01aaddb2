"""A readiness sensor with a lock: the lease is kept while it waits in the triggerer, and given back in every ending."""

from __future__ import annotations

import pytest
from airflow.sdk import DAG

from airflow_lockprovider import LockedOperator
from airflow_lockprovider.sensors import GlueJobRunSensor
from tests.job_service import JobService

from .conftest import fire


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> JobService:
    service = JobService()
    service.install(monkeypatch)
    return service


def locked(**settings):
    with DAG("a_dag", schedule=None):
        return LockedOperator(
            task_id="wait",
            operator=GlueJobRunSensor,
            lock="glue.load",
            job_name="load",
            run_id="jr_{{ run_id }}",
            poke_interval=0.05,
            **settings,
        )


def events(hook):
    return [event.event for event in reversed(hook.history("glue.load"))]


def test_it_waits_in_the_triggerer_under_its_lease(hook, run, next_leg, job):
    task = locked()
    first = run(task)
    assert first.state == "deferred"
    (lease,) = hook.leases("glue.load")
    assert lease.state == "held"
    assert first.pushed()["reason"] == "run jr_a_run of load is RUNNING"

    job.state = "SUCCEEDED"
    last = next_leg(task, first)

    assert (last.state, last.pushed()["status"]) == ("success", "READY")
    assert hook.leases("glue.load") == []
    assert events(hook) == ["granted", "released"]


def test_a_failure_gives_the_lease_back_and_has_said_why(hook, run, next_leg, job):
    task = locked()
    first = run(task)
    job.state, job.message = "EXPIRED", "too old"

    last = next_leg(task, first)

    assert last.state == "failed"
    assert "EXPIRED: too old" in str(last.error)
    assert last.pushed()["status"] == "FAILED"
    assert hook.leases("glue.load") == []


def test_a_restarted_triggerer_goes_on_with_both(hook, run, next_leg, revive, job):
    task = locked()
    first = run(task)
    asked = job.requests
    job.state = "SUCCEEDED"
    lost = fire(revive(first))  # its event has reached nobody
    assert lost

    last = next_leg(task, first)

    assert last.state == "success"
    assert job.requests > asked + 1
    assert events(hook) == ["granted", "released"]


def test_while_somebody_else_holds_the_lock_nothing_is_asked(hook, run, job):
    other = hook.acquire("glue.load", ttl=60)
    assert run(locked()).state == "deferred"
    assert job.requests == 0
    hook.release(other)


@pytest.mark.parametrize(("state", "ends"), [("RUNNING", "failed"), ("SUCCEEDED", "success")])
def test_one_look_under_a_lock(hook, run, job, state, ends):
    job.state = state
    assert run(locked(mode_override="once", retries=3), should_retry=True).state == ends
    assert events(hook) == ["granted", "released"]
