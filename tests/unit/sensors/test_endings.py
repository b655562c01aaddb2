"""However a sensor ends, its verdict is published; assets hear of it; a run can ask for one look."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from airflow.sdk import Asset, AssetAlias
from airflow.sdk.exceptions import AirflowRescheduleException
from airflow.sdk.execution_time.context import OutletEventAccessors

from airflow_lockprovider.exceptions import ConfigurationError
from airflow_lockprovider.readiness.errors import DataWillNotArrive
from airflow_lockprovider.triggers import settle
from tests.job_service import JobService, job_run

MODES = ({"deferrable": True}, {"deferrable": False}, {"mode": "reschedule"})


@pytest.fixture(autouse=True)
def job(monkeypatch: pytest.MonkeyPatch) -> JobService:
    monkeypatch.setattr(settle, "settle_time", lambda: 0.0)
    service = JobService()
    service.install(monkeypatch)
    return service


class Published(list[Any]):
    """What a task has pushed as its result."""

    def push(self, key: str, value: Any) -> None:
        assert key == "return_value"
        self.append(value)


@pytest.fixture
def published() -> Published:
    return Published()


@pytest.fixture
def context(published: Published) -> Any:
    ti = SimpleNamespace(id="try-1", xcom_push=published.push, get_first_reschedule_date=lambda _: None)
    return {"ti": ti, "outlet_events": OutletEventAccessors(), "task_state_store": {}, "params": {}}


@pytest.fixture(autouse=True)
def _store_as_in_airflow(context: Any) -> None:
    store: dict[str, Any] = {}
    context["task_state_store"] = SimpleNamespace(get=store.get, set=store.__setitem__)


def finish(sensor: Any, context: Any) -> Any:
    """Run it to its end, through a trigger if it defers."""
    try:
        return sensor.execute(context)
    except TaskDeferred as deferred:
        trigger, method = deferred.trigger, deferred.method_name

    async def first() -> Any:
        return (await anext(trigger.run())).payload

    return sensor.resume_execution(method, {"event": asyncio.run(first())}, context)


# -- the verdict as XCom


@pytest.mark.parametrize("mode", MODES)
def test_a_failure_publishes_its_verdict(job: JobService, context: Any, published: Published, mode: Any) -> None:
    job.state, job.message = "ERROR", "no capacity"
    with pytest.raises(DataWillNotArrive, match="ERROR: no capacity"):
        finish(job_run(**mode), context)
    assert published[-1]["status"] == "FAILED"
    assert "no capacity" in published[-1]["reason"]


@pytest.mark.parametrize("mode", MODES[:2])
def test_a_timeout_publishes_the_last_verdict(context: Any, published: Published, mode: Any) -> None:
    with pytest.raises(AirflowSensorTimeout, match="is RUNNING"):
        finish(job_run(timeout=0.05, **mode), context)
    assert (published[-1]["status"], published[-1]["reason"]) == ("WAIT", "run jr_1 of load is RUNNING")


@pytest.mark.parametrize("word", ["soft_fail", "never_fail"])
@pytest.mark.parametrize("mode", MODES[:2])
def test_a_timeout_that_skips_tells_and_publishes_the_same(
    context: Any, published: Published, word: str, mode: Any
) -> None:
    with pytest.raises(AirflowSkipException, match="is RUNNING"):
        finish(job_run(timeout=0.05, **mode, **{word: True}), context)
    assert published[-1]["status"] == "WAIT"


def test_a_task_that_waits_outside_of_a_worker_has_said_why(context: Any, published: Published) -> None:
    with pytest.raises(TaskDeferred):
        job_run().execute(context)
    with pytest.raises(AirflowRescheduleException):
        job_run(mode="reschedule").execute(context)
    assert [verdict["status"] for verdict in published] == ["WAIT", "WAIT"]


def test_nothing_is_published_where_that_is_not_wanted(job: JobService, context: Any, published: Published) -> None:
    job.state = "FAILED"
    with pytest.raises(DataWillNotArrive):
        finish(job_run(do_xcom_push=False), context)
    assert published == []


def test_a_failure_keeps_its_own_reason_when_it_cannot_be_published(job: JobService, context: Any) -> None:
    def refuse(key: str, value: Any) -> None:
        raise ConnectionError("the API server is away")

    context["ti"].xcom_push = refuse
    job.state = "FAILED"
    with pytest.raises(DataWillNotArrive, match="FAILED"):
        finish(job_run(), context)


# -- assets


@pytest.mark.parametrize("mode", MODES)
def test_assets_hear_of_data_that_is_ready(job: JobService, context: Any, mode: Any) -> None:
    job.state = "SUCCEEDED"
    asset, alias = Asset("sales", uri="s3://lake/sales"), AssetAlias("other")
    assert finish(job_run(outlets=[asset, alias], **mode), context)["status"] == "READY"
    extra = context["outlet_events"][asset].extra
    assert (extra["kind"], extra["requests"]) == ("glue_job_run", 1)
    assert extra["about"] == {"job_name": "load", "run_id": "jr_1"}
    assert extra["waited_seconds"] >= 0
    assert len(context["outlet_events"]) == 1


def test_the_time_of_waiting_counts_from_the_first_leg(job: JobService, context: Any) -> None:
    asset = Asset("sales")
    sensor = job_run(outlets=[asset])
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(context)
    event = {
        "outcome": "verdict",
        "verdict": {"status": "READY", "missing_sample": [], "notes": []},
        "deadline": deferred.value.trigger.deadline - 30,  # as if it had begun half a minute earlier
        "state": "",
        "message": "",
    }
    sensor.resume_execution("execute_complete", {"event": event}, context)
    assert 30 <= context["outlet_events"][asset].extra["waited_seconds"] < 60


# -- one look


@pytest.mark.parametrize(
    "asked",
    [
        {"dag_run": SimpleNamespace(conf={"mode_override": "once"})},
        {"dag_run": SimpleNamespace(conf={"mode_override": {"wait": "once", "other": "wait"}})},
        {"params": {"mode_override": "once"}},
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_a_run_can_ask_for_one_look(
    job: JobService, context: Any, published: Published, asked: dict[str, Any], mode: Any
) -> None:
    with pytest.raises(AirflowFailException, match="WAIT, looked once: run jr_1 of load is RUNNING"):
        job_run(**mode).execute(context | asked)
    assert job.requests == 1
    assert published[-1]["status"] == "WAIT"
    job.state = "SUCCEEDED"
    assert job_run(**mode).execute(context | asked)["status"] == "READY"


def test_the_runs_word_counts_before_the_params_and_the_sensors_own(context: Any) -> None:
    asked = {"dag_run": SimpleNamespace(conf={"mode_override": "wait"}), "params": {"mode_override": "once"}}
    with pytest.raises(TaskDeferred):
        job_run(mode_override="once").execute(context | asked)
    with pytest.raises(AirflowFailException):
        job_run(mode_override="once").execute(context)
    other = {"dag_run": SimpleNamespace(conf={"mode_override": {"other_task": "once"}})}
    with pytest.raises(TaskDeferred):
        job_run().execute(context | other)


def test_one_look_that_is_not_enough_can_skip(context: Any) -> None:
    with pytest.raises(AirflowSkipException, match="looked once"):
        job_run(mode_override="once", soft_fail=True).execute(context)


def test_an_unknown_mode_is_named_with_its_source(context: Any) -> None:
    with pytest.raises(ConfigurationError, match="mode_override='twice' must be 'once' or 'wait'"):
        job_run(mode_override="twice")
    with pytest.raises(ConfigurationError, match=r"conf\['mode_override'\]='skip'"):
        job_run().execute(context | {"dag_run": SimpleNamespace(conf={"mode_override": "skip"})})
