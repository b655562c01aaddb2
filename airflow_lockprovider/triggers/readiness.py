"""Waits in the triggerer until data is ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache, partial
from typing import Any, TypeVar

from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_lockprovider.readiness.pace import Pace
from airflow_lockprovider.readiness.plan import Endpoint, ProbePlan
from airflow_lockprovider.readiness.verdict import Status, Verdict
from airflow_lockprovider.triggers.settle import Settled

_THREADS = 32
"""Looks at the same time, in one triggerer. Threads of our own: the loop's default ones are few, all triggers share
them, and a slow answer would hold up somebody else's."""
_CONNECT_TIMEOUT, _READ_TIMEOUT = 10, 30
Answer = TypeVar("Answer")


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
        probe = await _in_thread(plan.probe, await _connect(plan), self.state)
        arrived = -1
        while True:
            verdict = await _in_thread(probe.step)
            log_verdict(self.log, verdict)
            if verdict.status is not Status.WAIT:
                return self._event("verdict", verdict)
            if probe.must_begin:
                return self._event("begin", verdict, await _in_thread(probe.state))
            left = self.deadline - time.time()
            if left <= 0:
                return self._event("timeout", verdict)
            pause = pace.next(progress=verdict.arrived > arrived, error=bool(probe.errors_in_a_row))
            await asyncio.sleep(min(pause, left))
            arrived = verdict.arrived
            if probe.errors_in_a_row:
                # A client may hold on to an expired token or a dead connection.
                probe.clients = await _connect(plan)

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


def client_of(endpoint: Endpoint, connection: Any = None, *, resolved: bool = False) -> Any:
    """A boto3 client for ``endpoint``. ``resolved``: use ``connection`` (or none) instead of looking it up."""
    # Imported here: it takes seconds, and neither parsing a DAG nor the triggerer's loop should wait for it.
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
    from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper
    from botocore.config import Config

    hook: Any = AwsBaseHook(aws_conn_id=endpoint.conn_id, region_name=endpoint.region, client_type=endpoint.service)
    if resolved:
        hook.conn_config = AwsConnectionWrapper(conn=connection, region_name=endpoint.region)
    if hook.conn_config.botocore_config is None:  # the connection's config_kwargs come first
        # A look is repeated anyway: better to hear soon that it did not work.
        quick = Config(
            connect_timeout=_CONNECT_TIMEOUT,
            read_timeout=_READ_TIMEOUT,
            retries={"mode": "standard", "total_max_attempts": 3},
        )
        hook.conn_config.botocore_config = quick
    return hook.get_conn()


async def _connect(plan: ProbePlan) -> dict[str, Any]:
    """The clients of a plan. Connections are asked for on the loop, where Airflow's API is asynchronous; clients
    are built in a thread, where botocore reads its files."""
    clients = {}
    for name, endpoint in plan.endpoints.items():
        connection = await _connection_of(endpoint)
        clients[name] = await _in_thread(partial(client_of, endpoint, connection, resolved=True))
    return clients


async def _connection_of(endpoint: Endpoint) -> Any:
    if not endpoint.conn_id:
        return None
    try:
        return await BaseHook.aget_connection(endpoint.conn_id)
    except AirflowNotFoundException:
        return None  # as the hooks of the amazon provider do: fall back on boto3's own credentials


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="lockprovider-readiness")


async def _in_thread(work: Callable[..., Answer], *arguments: Any) -> Answer:
    """As asyncio.to_thread, with threads of our own. The context goes along: the log of a trigger hangs on it."""
    return await asyncio.get_running_loop().run_in_executor(_threads(), copy_context().run, work, *arguments)
