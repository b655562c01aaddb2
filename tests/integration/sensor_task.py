"""Runs a readiness sensor as workers and triggerers would, leg by leg, without an Airflow around it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.sdk._shared.module_loading import import_string
from airflow.sdk.execution_time.context import OutletEventAccessors
from airflow.sdk.serde import deserialize, serialize

from airflow_lockprovider.sensors import GlueCrawlSensor


class SensorTask:
    """One try of one sensor. ``published`` is what it has pushed as XCom, ``events`` what its outlets were told."""

    def __init__(self, sensor: Any, **context: Any) -> None:
        self.sensor = sensor
        self.published: list[Any] = []
        self.events = OutletEventAccessors()
        ti = SimpleNamespace(id="try-1", xcom_push=lambda key, value: self.published.append(value))
        self.context: Any = {"ti": ti, "outlet_events": self.events, **context}
        self.deferred: TaskDeferred | None = None

    def begin(self) -> Any:
        """The first leg in a worker: the result, or None if it has deferred."""
        return self._leg(lambda: self.sensor.execute(self.context))

    def trigger(self) -> Any:
        """A new trigger from its serialised form, as after every restart of a triggerer."""
        assert self.deferred is not None, "the task did not defer"
        path, arguments = self.deferred.trigger.serialize()
        return import_string(path)(**deserialize(serialize(arguments)))

    def kill_triggerer_after(self, seconds: float) -> None:
        """Let the trigger run so long, and lose it."""

        async def lose() -> None:
            running = asyncio.create_task(anext(self.trigger().run()))
            await asyncio.sleep(seconds)
            assert not running.done(), "it has fired before the triggerer died"
            running.cancel()

        asyncio.run(lose())

    def finish(self) -> Any:
        """Trigger and worker by turns until the task has its result."""
        result = None
        while self.deferred is not None:
            event = asyncio.run(first_event(self.trigger()))
            method = self.deferred.method_name
            result = self._leg(lambda: self.sensor.resume_execution(method, {"event": event}, self.context))  # noqa: B023
        return result

    def run(self) -> Any:
        result = self.begin()
        return self.finish() if self.deferred else result

    def _leg(self, run: Callable[[], Any]) -> Any:
        self.deferred = None
        try:
            return run()
        except TaskDeferred as deferred:
            self.deferred = deferred
            return None


async def first_event(trigger: Any) -> Any:
    """What the worker sees of the event that the trigger fires."""
    return deserialize(serialize((await anext(trigger.run())).payload))


def crawl(**settings: Any) -> GlueCrawlSensor:
    """Waits for the crawler ``sales``."""
    return GlueCrawlSensor(
        **{
            "task_id": "crawl",
            "crawler_name": "sales",
            "aws_conn_id": "aws_here",
            "poke_interval": 0.1,
            "timeout": 20,
            **settings,
        }
    )
