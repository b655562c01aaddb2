"""Waits in the triggerer until data is ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_lockprovider.readiness.pace import Pace
from airflow_lockprovider.readiness.plan import ProbePlan
from airflow_lockprovider.readiness.verdict import Status, Verdict
from airflow_lockprovider.triggers.clients import connect, in_thread
from airflow_lockprovider.triggers.settle import Settled


class ReadinessTrigger(BaseTrigger):
    """Calls ``step()`` of a probe until there is something to say. It never calls ``begin()``: a triggerer that
    restarts builds its triggers anew from the first arguments, and would begin twice.

    :param plan: a `ProbePlan` as a dict.
    :param state: the probe's state, with ``begin()`` done.
    :param poke_interval: shortest and longest seconds between two looks.
    :param deadline: epoch seconds; after it, one last look is taken.

    The event is a dict: ``outcome`` ("verdict", "begin", "timeout" or "error"), ``verdict`` (a dict, or None),
    ``state``, ``deadline``, ``message``. "begin": a worker has to call ``begin()`` with that state.
    """

    def __init__(
        self,
        plan: Mapping[str, Any],
        state: str,
        poke_interval: Sequence[float],
        deadline: float,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.plan = plan
        self.state = state
        self.poke_interval = poke_interval
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "plan": dict(self.plan),
            "state": self.state,
            "poke_interval": list(self.poke_interval),
            "deadline": self.deadline,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        settled = Settled()
        try:
            event = await self._watch()
        except Exception as error:
            # An error that leaves run() fails the task as well, but at once, and so runs into the settle time.
            self.log.exception("The readiness trigger failed")
            event = self._event("error", message=f"{type(error).__name__}: {error}")
        await settled.wait()
        yield TriggerEvent(event)

    async def _watch(self) -> dict[str, Any]:
        plan = ProbePlan.from_dict(self.plan)
        pace = Pace(*self.poke_interval)
        # Also what only calculates is done in a thread: the state of a large set takes a while to unpack.
        probe = await in_thread(plan.probe, await connect(plan), self.state)
        arrived = -1
        while True:
            verdict = await in_thread(probe.step)
            log_verdict(self.log, verdict)
            if verdict.status is not Status.WAIT:
                return self._event("verdict", verdict)
            if probe.must_begin:
                return self._event("begin", verdict, await in_thread(probe.state))
            left = self.deadline - time.time()
            if left <= 0:
                return self._event("timeout", verdict)
            pause = pace.next(progress=verdict.arrived > arrived, error=bool(probe.errors_in_a_row))
            await asyncio.sleep(min(pause, left))
            arrived = verdict.arrived
            if probe.errors_in_a_row:
                # A client may hold on to an expired token or a dead connection.
                probe.clients = await connect(plan, instead_of=probe.clients)

    def _event(
        self, outcome: str, verdict: Verdict | None = None, state: str = "", message: str = ""
    ) -> dict[str, Any]:
        return {
            "outcome": outcome,
            "verdict": verdict.as_dict() if verdict else None,
            "state": state,
            "deadline": self.deadline,
            "message": message,
        }


def log_verdict(log: Any, verdict: Verdict) -> None:
    """Say where things stand; louder when they have come to a standstill."""
    (log.warning if verdict.newly_stalled else log.info)("%s: %s", verdict.status, verdict)
    for note in verdict.notes:
        log.warning(note)
