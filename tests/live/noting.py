"""Tasks and triggers that note what is done to them, in a file that a test reads."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator
from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent


def note(file: str, *words: object) -> None:
    """Add a line: seconds since the epoch, then the words. One write, so lines of several processes do not mix."""
    line = " ".join([f"{time.time():.3f}", *map(str, words)]) + "\n"
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def notes(file: str | Path, *words: str) -> list[list[str]]:
    """The lines that have all of these words, each as a list of words."""
    path = Path(file)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [line.split() for line in lines if set(words) <= set(line.split())]


class Notes(BaseTrigger):
    """Fires after some seconds; can stop its external work."""

    def __init__(self, file: str, who: str, seconds: float, end: str = "event") -> None:
        super().__init__()
        self.file, self.who, self.seconds, self.end = file, who, seconds, end

    def serialize(self) -> tuple[str, dict[str, Any]]:
        arguments = {"file": self.file, "who": self.who, "seconds": self.seconds, "end": self.end}
        return f"{type(self).__module__}.{type(self).__name__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        note(self.file, self.who, "trigger-started")
        await asyncio.sleep(self.seconds)
        yield TaskSuccessEvent() if self.end == "task" else TriggerEvent("done")

    async def on_kill(self) -> None:
        note(self.file, self.who, "trigger-killed")


class Defers(BaseOperator):
    """Defers itself ``times`` times; what else it does is in ``dag_run.conf``: who, seconds, timeout, end."""

    def __init__(self, file: str, times: int = 1, number: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.file, self.times, self.number = file, times, number

    def execute(self, context: Any) -> None:
        self._go(context, 1)

    def _go(self, context: Any, number: int) -> None:
        conf = context["dag_run"].conf or {}
        limit = conf.get("timeout")
        self.defer(
            trigger=Notes(self.file, _who(context), conf.get("seconds", 0), conf.get("end", "event")),
            method_name="complete",
            kwargs={"number": number},
            timeout=timedelta(seconds=limit) if limit else None,
        )

    def complete(self, context: Any, event: Any, number: int) -> None:
        if number < self.times:
            self._go(context, number + 1)
        note(self.file, _who(context), "completed")


def body(file: str, context: Any, seconds: float) -> None:
    """Note the begin and the end of a body, whatever ends it."""
    who = _who(context)
    note(file, who, "begin")
    try:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.1)
        note(file, who, "whole")
    finally:
        note(file, who, "end")


def _who(context: Any) -> str:
    ti = context["ti"]
    who = (context["dag_run"].conf or {}).get("who", "")
    return f"{ti.dag_id}/{who}/{ti.task_id}[{ti.map_index}]#{ti.try_number}"
