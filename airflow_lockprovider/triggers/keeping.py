"""Keeps a lease while the wrapped operator is deferred by itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any, Self

from airflow.triggers.base import BaseTaskEndEvent, BaseTrigger, TriggerEvent

from airflow_lockprovider.compat import import_string, smart_decode_trigger_kwargs
from airflow_lockprovider.hooks.lease import LeaseHook
from airflow_lockprovider.lease.errors import LeaseLost, LockProviderError
from airflow_lockprovider.lease.model import Lease
from airflow_lockprovider.triggers.coordinator import Coordinator, Kept
from airflow_lockprovider.triggers.envelope import Envelope
from airflow_lockprovider.triggers.settle import Settled
from airflow_lockprovider.triggers.takeover import still_deferred

log = logging.getLogger(__name__)


class KeepLeaseTrigger(BaseTrigger):
    """Runs the wrapped operator's own trigger unchanged and renews the lease beside it.

    If the lease is lost, the inner trigger is cancelled and told to stop its external work before the task fails. The
    lease is given back when a person kills the task, never on a mere restart of the triggerer.
    """

    def __init__(
        self,
        *,
        inner_path: str,
        inner_kwargs: dict[str, Any],
        lock_name: str,
        owner_id: str,
        token: int,
        ttl: float,
        lease_conn_id: str,
        schema: str,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.inner_path, self.inner_kwargs = inner_path, inner_kwargs
        self.lock_name, self.owner_id, self.token, self.ttl = lock_name, owner_id, token, ttl
        self.lease_conn_id, self.schema = lease_conn_id, schema
        self._inner: BaseTrigger | None = None
        self._loss: str | None = None
        self._stale = False

    @classmethod
    def around(cls, inner: BaseTrigger, lease: Lease, *, lease_conn_id: str, schema: str) -> Self:
        """A trigger that runs ``inner`` under ``lease``."""
        path, kwargs = inner.serialize()
        trigger = cls(
            inner_path=path,
            inner_kwargs=kwargs,
            lock_name=lease.lock_name,
            owner_id=lease.owner_id,
            token=lease.token,
            ttl=lease.ttl,
            lease_conn_id=lease_conn_id,
            schema=schema,
        )
        # Read by the worker while it defers, for queues of triggerers.
        trigger.supports_triggerer_queue = getattr(inner, "supports_triggerer_queue", True)
        return trigger

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "inner_path": self.inner_path,
                "inner_kwargs": self.inner_kwargs,
                "lock_name": self.lock_name,
                "owner_id": self.owner_id,
                "token": self.token,
                "ttl": self.ttl,
                "lease_conn_id": self.lease_conn_id,
                "schema": self.schema,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        settled = Settled()
        hook = self._hook()
        await hook.resolve()
        inner = self._build_inner()
        coordinator = Coordinator.of(hook)
        kept = coordinator.keep(lock_name=self.lock_name, owner_id=self.owner_id, token=self.token, ttl=self.ttl)
        # The inner trigger stays in this task: synchronous SDK calls in it depend on that. The watch is beside it.
        this_task = asyncio.current_task()
        assert this_task is not None
        watch = asyncio.create_task(self._watch(coordinator, kept, hook, this_task))
        event: TriggerEvent | None = None
        try:
            try:
                async with contextlib.aclosing(inner.run()) as events:  # type: ignore[type-var]
                    event = await anext(events, None)
            except asyncio.CancelledError:
                if self._loss is None and not self._stale:
                    raise
                this_task.uncancel()
            except Exception:
                await settled.wait()
                raise
            watch.cancel()
            if self._stale:
                return
            await settled.wait()
            if self._loss is None and event is None:
                return  # Airflow fails the task: "exited without sending an event"
            if self._loss is None and not isinstance(event, BaseTaskEndEvent):
                # The whole ttl for the way to the worker, on which nobody renews.
                self._loss = await asyncio.to_thread(self._renew_once, hook, kept.lease)
            if self._loss is not None:
                await self._stop_inner(inner)
                yield TriggerEvent(Envelope("lost", token=self.token, reason=self._loss).payload())
            elif isinstance(event, BaseTaskEndEvent):
                # The triggerer ends the task itself: no worker leg follows that could give the lease back.
                coordinator.forget(kept)
                await asyncio.to_thread(self._release, hook)
                yield event
            else:
                assert event is not None
                yield TriggerEvent(Envelope("kept", token=self.token, event=event.payload).payload())
        finally:
            watch.cancel()
            coordinator.forget(kept)

    async def on_kill(self) -> None:
        if self._stale:
            return
        if await still_deferred(self.task_instance):
            log.info("the lease on %r stays: its task is still deferred", self.lock_name)
            return
        inner = self._build_inner()
        await self._stop_inner(inner)
        if type(inner).on_kill is BaseTrigger.on_kill:
            log.warning(
                "%s cannot stop its external work, so lock %r stays taken until the lease expires (at most %g s)",
                type(inner).__name__, self.lock_name, self.ttl,
            )  # fmt: skip
            return
        hook = self._hook()
        await hook.resolve()
        await asyncio.to_thread(self._release, hook)

    async def cleanup(self) -> None:
        # Runs on every restart of the triggerer too: gives nothing back.
        if self._inner is not None:
            await self._inner.cleanup()

    async def _watch(self, coordinator: Coordinator, kept: Kept, hook: LeaseHook, work: asyncio.Task[Any]) -> None:
        while not kept.lost.done():
            left = coordinator.give_up_at(kept) - hook.clock()
            if left <= 0:
                break
            await asyncio.wait({kept.lost}, timeout=min(left, 5.0))
        if kept.lost.done() and await asyncio.to_thread(self._was_given_back, hook):
            # Our own worker has released it (the trigger timed out, say): this trigger is merely stale.
            self._stale = True
        else:
            self._loss = kept.lost.result() if kept.lost.done() else "it could not be renewed in time"
            log.error("the lease on %r, token %s, was lost: %s", self.lock_name, self.token, self._loss)
        work.cancel()

    def _build_inner(self) -> BaseTrigger:
        if self._inner is None:
            # The triggerer decodes only the top level of our arguments: do the same one level down.
            kwargs = {name: smart_decode_trigger_kwargs(value) for name, value in self.inner_kwargs.items()}
            inner: BaseTrigger = import_string(self.inner_path)(**kwargs)
            inner.trigger_id = getattr(self, "trigger_id", None)
            inner.task_instance = self.task_instance
            for name in ("timeout_after", "triggerer_job_id"):
                setattr(inner, name, getattr(self, name, None))
            self._inner = inner
        return self._inner

    async def _stop_inner(self, inner: BaseTrigger) -> None:
        try:
            await inner.on_kill()
        except Exception:
            log.exception("%s failed to stop its external work", type(inner).__name__)

    def _hook(self) -> LeaseHook:
        return LeaseHook(self.lease_conn_id, schema=self.schema)

    # In threads: each closes the connection that it opened.

    def _renew_once(self, hook: LeaseHook, lease: Lease) -> str | None:
        try:
            hook.renew(lease)
        except LeaseLost as loss:
            return str(loss)
        except LockProviderError as error:
            log.warning("renewing lock %r before the hand-over failed, its worker will try: %s", self.lock_name, error)
        finally:
            hook.close()
        return None

    def _was_given_back(self, hook: LeaseHook) -> bool:
        try:
            return hook.last_event(self.lock_name, self.owner_id) == "released"
        except LockProviderError:
            return False
        finally:
            hook.close()

    def _release(self, hook: LeaseHook) -> None:
        try:
            for lease in hook.leases(self.lock_name, owner_id=self.owner_id):
                if lease.token == self.token:
                    hook.release(lease)
        finally:
            hook.close()
