"""The real task runner, without a supervisor: rendering, signals, deferral and outcomes are Airflow's own."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog

from airflow_lockprovider import LeaseHook
from airflow_lockprovider.triggers import settle


@dataclass
class Outcome:
    """How a leg of a task ended."""

    state: str
    message: Any
    error: BaseException | None
    sent: list[Any]
    context: dict[str, Any]

    def pushed(self, key: str = "return_value") -> Any:
        """The XCom that the task pushed under ``key``."""
        return next((m.value for m in self.sent if type(m).__name__ == "SetXCom" and m.key == key), None)

    def rendered(self) -> dict[str, Any]:
        """The rendered fields as the UI shows them at last."""
        return [m for m in self.sent if type(m).__name__ == "SetRenderedFields"][-1].rendered_fields


@dataclass
class Comms:
    """Stands for the supervisor: keeps what was sent to it."""

    states: dict[str, str] = field(default_factory=dict)
    sent: list[Any] = field(default_factory=list)

    def send(self, msg: Any) -> Any:
        from airflow.sdk.exceptions import ErrorType
        from airflow.sdk.execution_time.comms import ErrorResponse, TaskStatesResult

        self.sent.append(msg)
        kind = type(msg).__name__
        if kind == "GetTaskStates":
            return TaskStatesResult(task_states={msg.run_ids[0]: {msg.task_ids[0]: self.states[msg.task_ids[0]]}})
        if kind == "GetConnection":
            return ErrorResponse(error=ErrorType.CONNECTION_NOT_FOUND, detail={"conn_id": msg.conn_id})
        return None

    async def asend(self, msg: Any) -> Any:
        return self.send(msg)


@pytest.fixture
def comms(monkeypatch: pytest.MonkeyPatch) -> Comms:
    from airflow.sdk.execution_time import task_runner

    stand_in = Comms()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", stand_in, raising=False)
    return stand_in


@pytest.fixture
def hook(database: str, monkeypatch: pytest.MonkeyPatch, comms: Comms) -> Iterator[LeaseHook]:
    """Locks in a fresh database, as the default connection; what others than the task under test do."""
    from airflow_lockprovider.triggers.coordinator import Coordinator

    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", database)
    monkeypatch.setenv("AIRFLOW__LOCKPROVIDER__POLL_INTERVAL", "0.05")
    monkeypatch.setenv("AIRFLOW__LOCKPROVIDER__STANDBY", "never")  # waiting means leaving the worker, at once
    monkeypatch.setattr(settle, "settle_time", lambda: 0.0)
    monkeypatch.setattr(Coordinator, "_all", {})
    hook = LeaseHook()
    hook.init_schema()
    yield hook
    hook.close()


Run = Callable[..., Outcome]


@pytest.fixture
def run(comms: Comms) -> Run:
    """Run one leg of a task. The same ``ti_id`` means the same try."""
    return lambda task, **given: _run(task, comms, **given)


def _run(
    task: Any,
    comms: Comms,
    *,
    ti_id: uuid.UUID | None = None,
    next_method: str | None = None,
    next_kwargs: dict[str, Any] | None = None,
    should_retry: bool = False,
    map_index: int = -1,
    try_number: int = 1,
) -> Outcome:
    from airflow.sdk import timezone
    from airflow.sdk.api.datamodels._generated import DagRun, TIRunContext
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance, finalize
    from airflow.sdk.execution_time.task_runner import run as run_leg
    from airflow.sdk.serde import serialize

    now = timezone.utcnow()
    dag_run = DagRun.model_construct(
        dag_id=task.dag_id,
        run_id="a_run",
        logical_date=now,
        data_interval_start=now,
        data_interval_end=now,
        run_after=now,
        start_date=now,
        run_type="manual",
        state="running",
        conf={},
        consumed_asset_events=[],
        partition_key=None,
        team_name=None,
    )
    ti = RuntimeTaskInstance.model_construct(
        id=ti_id or uuid.uuid4(),
        task_id=task.task_id,
        dag_id=task.dag_id,
        run_id="a_run",
        try_number=try_number,
        map_index=map_index,
        max_tries=0,
        start_date=now,
        dag_version_id=uuid.uuid4(),
        task=task.prepare_for_execution() if not task.is_mapped else task,
        bundle_instance=None,
        state="running",
        _ti_context_from_server=TIRunContext.model_construct(
            dag_run=dag_run,
            max_tries=0,
            xcom_keys_to_clear=[],
            should_retry=should_retry,
            next_method=next_method,
            next_kwargs=serialize(next_kwargs) if next_kwargs is not None else None,
            task_reschedule_count=0,
            variables=[],
            connections=[],
            upstream_map_indexes=None,
        ),
    )
    before = len(comms.sent)
    context = ti.get_template_context()
    log = structlog.get_logger()
    state, message, error = run_leg(ti, context, log)
    finalize(ti, state, context, log, error)
    return Outcome(str(state.value), message, error, comms.sent[before:], dict(context))


@pytest.fixture
def revive() -> Callable[..., Any]:
    """The trigger of a deferral, as a triggerer makes it anew from the metadata database."""
    return _revive


def _revive(outcome: Outcome, ti: Any = None) -> Any:
    from airflow.sdk.module_loading import import_string
    from airflow.sdk.serde import deserialize
    from airflow.serialization.decoders import smart_decode_trigger_kwargs

    assert outcome.state == "deferred", outcome.error
    kwargs = {
        name: smart_decode_trigger_kwargs(value) for name, value in deserialize(outcome.message.trigger_kwargs).items()
    }
    trigger = import_string(outcome.message.classpath)(**kwargs)
    trigger.task_instance = ti or outcome.context["ti"]
    return trigger


@pytest.fixture
def next_leg(revive: Callable[..., Any], run: Run) -> Callable[..., Outcome]:
    """Let a deferred task's trigger fire, and run the leg that its event wakes."""

    def go_on(task: Any, outcome: Outcome, *, event: Any = None) -> Outcome:
        from airflow.sdk.serde import deserialize

        payload = event if event is not None else fire(revive(outcome))
        kwargs = deserialize(outcome.message.next_kwargs) or {}
        return run(
            task,
            ti_id=outcome.context["ti"].id,
            next_method=outcome.message.next_method,
            next_kwargs={**kwargs, "event": payload},
        )

    return go_on


def fire(trigger: Any, timeout: float = 20) -> Any:
    """Run a trigger to its first event, and return the payload."""

    async def first() -> Any:
        async with asyncio.timeout(timeout):
            async for event in trigger.run():
                return event.payload
        raise AssertionError("the trigger ended without an event")

    return asyncio.run(first())
