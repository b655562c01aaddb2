"""Waits in the triggerer until data is ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_lockprovider.readiness.pace import Pace
from airflow_lockprovider.readiness.plan import Endpoint, ProbePlan
from airflow_lockprovider.readiness.probe import Probe
from airflow_lockprovider.readiness.verdict import Status, Verdict
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
        probe = plan.probe(await _connect(plan), self.state)
        arrived = -1
        while True:
            verdict = await asyncio.to_thread(probe.step)
            log_verdict(self.log, verdict)
            if verdict.status is not Status.WAIT:
                return self._event("verdict", verdict)
            if probe.must_begin:
                return self._event("begin", verdict, probe)
            left = self.deadline - time.time()
            if left <= 0:
                return self._event("timeout", verdict)
            await asyncio.sleep(min(pace.next(progress=verdict.arrived > arrived), left))
            arrived = verdict.arrived
            if probe.errors_in_a_row:
                # A client may hold on to an expired token or a dead connection.
                probe.clients = await _connect(plan)

    def _event(
        self, outcome: str, verdict: Verdict | None = None, probe: Probe | None = None, message: str = ""
    ) -> dict[str, Any]:
        return {
            "outcome": outcome,
            "verdict": verdict.as_dict() if verdict else None,
            "state": probe.state() if probe else "",
            "deadline": self.deadline,
            "message": message,
        }


def log_verdict(log: Any, verdict: Verdict) -> None:
    """Say where things stand, louder when nothing moves."""
    (log.warning if verdict.stalled else log.info)("%s: %s", verdict.status, verdict)


def client_of(endpoint: Endpoint, connection: Any = None, *, resolved: bool = False) -> Any:
    """A boto3 client for ``endpoint``. ``resolved``: use ``connection`` (or none) instead of looking it up."""
    # Imported here: it takes seconds, and neither parsing a DAG nor the triggerer's loop should wait for it.
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
    from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper

    hook: Any = AwsBaseHook(aws_conn_id=endpoint.conn_id, region_name=endpoint.region, client_type=endpoint.service)
    if resolved:
        hook.conn_config = AwsConnectionWrapper(conn=connection, region_name=endpoint.region)
    return hook.get_conn()


async def _connect(plan: ProbePlan) -> dict[str, Any]:
    """The clients of a plan. Connections are asked for on the loop, where Airflow's API is asynchronous; clients
    are built in a thread, where botocore reads its files."""
    clients = {}
    for name, endpoint in plan.endpoints.items():
        connection = await _connection_of(endpoint)
        clients[name] = await asyncio.to_thread(client_of, endpoint, connection, resolved=True)
    return clients


async def _connection_of(endpoint: Endpoint) -> Any:
    if not endpoint.conn_id:
        return None
    try:
        return await BaseHook.aget_connection(endpoint.conn_id)
    except AirflowNotFoundException:
        return None  # as the hooks of the amazon provider do: fall back on boto3's own credentials
