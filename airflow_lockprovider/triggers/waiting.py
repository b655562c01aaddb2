"""Waits for a lock in the triggerer: no worker slot."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_lockprovider.hooks.lease import LeaseHook
from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.triggers.coordinator import CALLED, Coordinator
from airflow_lockprovider.triggers.envelope import Envelope
from airflow_lockprovider.triggers.killing import to_the_end
from airflow_lockprovider.triggers.settle import Settled
from airflow_lockprovider.triggers.takeover import still_deferred

log = logging.getLogger(__name__)


class WaitForLeaseTrigger(BaseTrigger):
    """Looks after a ticket until it has its reservation; the worker then has to confirm it.

    It draws no ticket itself: a stale copy of it can never make a ghost lease.

    :param ticket: the place in line that the worker has drawn
    :param owner_id: whose it is
    :param lock_name: for messages
    :param lease_conn_id: connection of the database with the locks
    :param schema: schema of the lock tables
    :param handover_ttl: seconds for which the reservation waits for its worker; None: the configured default
    :param deadline: when to give up; None: never
    :param method: where the wrapped operator goes on
    :param kwargs: with what
    """

    def __init__(
        self,
        *,
        ticket: int,
        owner_id: str,
        lock_name: str,
        lease_conn_id: str,
        schema: str,
        handover_ttl: float | None = None,
        deadline: datetime | None = None,
        method: str = "execute",
        kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ticket, self.owner_id, self.lock_name = ticket, owner_id, lock_name
        self.lease_conn_id, self.schema = lease_conn_id, schema
        self.handover_ttl, self.deadline = handover_ttl, deadline
        self.method, self.kwargs = method, kwargs or {}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "ticket": self.ticket,
                "owner_id": self.owner_id,
                "lock_name": self.lock_name,
                "lease_conn_id": self.lease_conn_id,
                "schema": self.schema,
                "handover_ttl": self.handover_ttl,
                "deadline": self.deadline,
                "method": self.method,
                "kwargs": self.kwargs,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        settled = Settled()
        hook = self._hook()
        await hook.resolve()
        coordinator = Coordinator.of(hook)
        waiting = coordinator.wait(self.ticket, handover_ttl=self.handover_ttl, not_before=settled.at)
        try:
            async with asyncio.timeout(self._seconds_left()):
                answer = await waiting.answer
            phase = "standby" if answer is CALLED else "reserved" if answer else "gone"
        except TimeoutError:
            # Out of the line first: after this no reservation can be made for the ticket any more.
            coordinator.forget(waiting)
            await asyncio.to_thread(self._withdraw, hook)
            phase = "timeout"
        except ConfigurationError as error:
            # Its worker asks once more, and fails with the reason.
            log.error("lock %r can never be granted to ticket %s: %s", self.lock_name, self.ticket, error)
            await asyncio.to_thread(self._withdraw, hook)
            phase = "gone"
        finally:
            coordinator.forget(waiting)
        await settled.wait()
        envelope = Envelope(phase, ticket=self.ticket, method=self.method, kwargs=self.kwargs)  # type: ignore[arg-type]
        yield TriggerEvent(envelope.payload())

    async def on_kill(self) -> None:
        await to_the_end(self._kill())

    async def _kill(self) -> None:
        if await still_deferred(self.task_instance):
            log.info("ticket %s for lock %r stays: its task is still deferred", self.ticket, self.lock_name)
            return
        hook = self._hook()
        await hook.resolve()
        await asyncio.to_thread(self._withdraw, hook)

    def _hook(self) -> LeaseHook:
        return LeaseHook(self.lease_conn_id, schema=self.schema)

    def _seconds_left(self) -> float | None:
        return None if self.deadline is None else max(0.0, (self.deadline - datetime.now(UTC)).total_seconds())

    def _withdraw(self, hook: LeaseHook) -> None:
        try:
            hook.withdraw(self.ticket, self.owner_id)
        finally:
            hook.close()
