"""Keeps a lease while the wrapped operator is deferred by itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any, Self

from airflow.triggers.base import BaseTaskEndEvent, BaseTrigger, TriggerEvent

from airflow_lockprovider.compat import import_string, smart_decode_trigger_kwargs
from airflow_lockprovider.hooks.lease import LeaseHook
from airflow_lockprovider.lease.errors import LeaseLost, LockProviderError
from airflow_lockprovider.lease.lease_set import LeaseSet
from airflow_lockprovider.lease.model import Lease
from airflow_lockprovider.triggers.coordinator import Coordinator, Kept
from airflow_lockprovider.triggers.envelope import Envelope
from airflow_lockprovider.triggers.killing import to_the_end
from airflow_lockprovider.triggers.settle import Settled
from airflow_lockprovider.triggers.takeover import has_newer_try, may_have_gone_on, task_state

log = logging.getLogger(__name__)

_LAST = 60.0
"""Seconds for which a trigger that nobody needs any more waits for its end."""


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
        tokens: Mapping[str, int],
        owner_id: str,
        ttl: float,
        lease_conn_id: str,
        schema: str,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.inner_path, self.inner_kwargs = inner_path, inner_kwargs
        self.tokens, self.owner_id, self.ttl = dict(tokens), owner_id, ttl
        self.lease_conn_id, self.schema = lease_conn_id, schema
        self._inner: BaseTrigger | None = None
        self._loss: str | None = None
        self._stale = False

    @classmethod
    def around(cls, inner: BaseTrigger, lease: Lease | LeaseSet, *, lease_conn_id: str, schema: str) -> Self:
        """A trigger that runs ``inner`` under ``lease``."""
        path, kwargs = inner.serialize()
        trigger = cls(
            inner_path=path,
            inner_kwargs=kwargs,
            tokens={one.lock_name: one.token for one in lease.leases},
            owner_id=lease.owner_id,
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
                "tokens": self.tokens,
                "owner_id": self.owner_id,
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
        kept = [
            coordinator.keep(lock_name=name, owner_id=self.owner_id, token=token, ttl=self.ttl)
            for name, token in self.tokens.items()
        ]
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
                # Airflow ends this trigger soon, and says by on_kill() if its work has to stop.
                await asyncio.sleep(_LAST)
                return
            await settled.wait()
            if self._loss is None and event is None:
                return  # Airflow fails the task: "exited without sending an event"
            if self._loss is None and not isinstance(event, BaseTaskEndEvent):
                # The whole ttl for the way to the worker, on which nobody renews.
                self._loss = await asyncio.to_thread(self._renew_once, hook, [one.lease for one in kept])
            if self._loss is not None:
                await self._stop_inner(inner)
                yield TriggerEvent(Envelope("lost", tokens=self.tokens, reason=self._loss).payload())
            elif isinstance(event, BaseTaskEndEvent):
                # The triggerer ends the task itself: no worker leg follows that could give the lease back.
                self._forget(coordinator, kept)
                await asyncio.to_thread(self._release, hook)
                yield event
            else:
                assert event is not None
                yield TriggerEvent(Envelope("kept", tokens=self.tokens, event=event.payload).payload())
        finally:
            watch.cancel()
            self._forget(coordinator, kept)

    async def on_kill(self) -> None:
        await to_the_end(self._kill())

    async def _kill(self) -> None:
        state = await task_state(self.task_instance)
        if self._stale:
            if state != "deferred":
                await self._stop_inner(self._build_inner())  # as without a lock, which is given back already
            return
        hook = self._hook()
        await hook.resolve()
        if state == "deferred" and not await asyncio.to_thread(self._is_superseded, hook):
            log.info("the lease on %s stays: its task is still deferred", self._label)
            return
        has_worker: bool | None = False
        if may_have_gone_on(state):
            has_worker = await asyncio.to_thread(self._has_worker, hook)
        if has_worker:
            log.info("the lease on %s stays: another copy of this trigger has sent it to a worker", self._label)
            return
        inner = self._build_inner()
        await self._stop_inner(inner)
        if type(inner).on_kill is BaseTrigger.on_kill:
            log.warning(
                "%s cannot stop its external work, so %s stays taken until the lease expires (at most %g s)",
                type(inner).__name__, self._label, self.ttl,
            )  # fmt: skip
            return
        if has_worker is None:
            log.warning("the task is %s: perhaps at work, so %s is not given back here", state, self._label)
            return
        await asyncio.to_thread(self._release, hook)

    async def cleanup(self) -> None:
        # Runs on every restart of the triggerer too: gives nothing back.
        if self._inner is not None:
            await self._inner.cleanup()

    async def _watch(
        self, coordinator: Coordinator, kept: list[Kept], hook: LeaseHook, work: asyncio.Task[Any]
    ) -> None:
        while not any(one.lost.done() for one in kept):
            left = min(coordinator.give_up_at(one) for one in kept) - hook.clock()
            if left <= 0:
                break
            await asyncio.wait([one.lost for one in kept], timeout=min(left, 5.0), return_when=asyncio.FIRST_COMPLETED)
        lost = next((one for one in kept if one.lost.done()), None)
        if lost is not None and await asyncio.to_thread(self._was_given_back, hook, lost.lease.lock_name):
            # Our own worker has released it (the trigger timed out, say): this trigger is merely stale.
            self._stale = True
        else:
            why = "it could not be renewed in time" if lost is None else lost.lost.result()
            several = f"{lost.lease.lock_name!r}: " if lost is not None and len(kept) > 1 else ""
            self._loss = several + why
            log.error("the lease on %s was lost: %s", self._label, self._loss)
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

    @property
    def _label(self) -> str:
        return ", ".join(f"{name!r} (token {token})" for name, token in self.tokens.items())

    @staticmethod
    def _forget(coordinator: Coordinator, kept: list[Kept]) -> None:
        for one in kept:
            coordinator.forget(one)

    def _hook(self) -> LeaseHook:
        return LeaseHook(self.lease_conn_id, schema=self.schema)

    # In threads: each closes the connection that it opened.

    def _renew_once(self, hook: LeaseHook, leases: list[Lease]) -> str | None:
        try:
            hook.renew(LeaseSet(tuple(leases)))
        except LeaseLost as loss:
            return str(loss)
        except LockProviderError as error:
            log.warning("renewing %s before the hand-over failed, its worker will try: %s", self._label, error)
        finally:
            hook.close()
        return None

    def _is_superseded(self, hook: LeaseHook) -> bool:
        """Whether it is a newer try of the task that is deferred: it was cleared, and waits for this very lock."""
        try:
            return has_newer_try(hook, self.owner_id, self.tokens)
        except LockProviderError:
            return False
        finally:
            hook.close()

    def _has_worker(self, hook: LeaseHook) -> bool | None:
        try:
            return hook.has_worker(self.owner_id, self.tokens)
        except LockProviderError:
            return None
        finally:
            hook.close()

    def _was_given_back(self, hook: LeaseHook, lock_name: str) -> bool:
        try:
            return hook.last_event(lock_name, self.owner_id) == "released"
        except LockProviderError:
            return False
        finally:
            hook.close()

    def _release(self, hook: LeaseHook) -> None:
        try:
            for lease in hook.leases(owner_id=self.owner_id):
                if self.tokens.get(lease.lock_name) == lease.token:
                    hook.release(lease)
        finally:
            hook.close()
