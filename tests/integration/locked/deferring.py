"""An operator that defers itself, and triggers that note what is done to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent

NOTES: list[str] = []
"""What the triggers of this module were told, in order."""


class Ping(BaseTrigger):
    """Fires after ``seconds`` with what it was made of; can stop its external work."""

    module: ClassVar[str] = __name__

    def __init__(
        self, seconds: float = 0, at: datetime | None = None, pause: timedelta | None = None, end: str = "event"
    ) -> None:
        super().__init__()
        self.seconds, self.at, self.pause, self.end = seconds, at, pause, end

    def serialize(self) -> tuple[str, dict[str, Any]]:
        arguments = {"seconds": self.seconds, "at": self.at, "pause": self.pause, "end": self.end}
        return f"{type(self).__module__}.{type(self).__name__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        NOTES.append("started")
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            NOTES.append("cancelled")
            raise
        if self.end == "error":
            raise ValueError("boom in the trigger")
        if self.end == "task":
            yield TaskSuccessEvent(xcoms={"return_value": "ended by the trigger"})
        elif self.end == "event":
            yield TriggerEvent({"type of at": type(self.at).__name__, "pause": str(self.pause)})

    async def on_kill(self) -> None:
        NOTES.append("killed")

    async def cleanup(self) -> None:
        NOTES.append("cleaned up")


class Deaf(Ping):
    """Cannot stop its external work."""

    on_kill = BaseTrigger.on_kill


class Defers(BaseOperator):
    """Defers itself ``times`` times, then returns the last event."""

    def __init__(self, trigger: BaseTrigger, times: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.trigger, self.times = trigger, times

    def execute(self, context: Any) -> None:
        NOTES.append("execute")
        self.defer(trigger=self.trigger, method_name="complete", kwargs={"number": 1})

    def complete(self, context: Any, event: Any, number: int) -> Any:
        NOTES.append(f"complete {number}")
        if number < self.times:
            self.defer(trigger=self.trigger, method_name="complete", kwargs={"number": number + 1})
        return event
