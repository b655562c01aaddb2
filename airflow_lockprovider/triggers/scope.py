"""Keeps the lease of a scope while its members run: no worker slot."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TaskFailedEvent, TaskSuccessEvent, TriggerEvent

from airflow_lockprovider.hooks.lease import LeaseHook
from airflow_lockprovider.lease.errors import LockProviderError
from airflow_lockprovider.lease.model import Lease
from airflow_lockprovider.triggers.coordinator import Coordinator, Kept
from airflow_lockprovider.triggers.killing import to_the_end
from airflow_lockprovider.triggers.run_states import AT_WORK, FINISHED_TASK, run_is_finished, task_states
from airflow_lockprovider.triggers.scope_lease import scope_leases
from airflow_lockprovider.triggers.settle import Settled
from airflow_lockprovider.triggers.takeover import still_deferred

log = logging.getLogger(__name__)

LOOK = 5.0
"""Seconds between two renewals at most: so long it takes to see that the lease was given back, or lost."""
ASK = 10.0
"""Seconds between two questions to Airflow, whether the scope is over."""
PATIENCE = 15.0
"""Seconds in which members that are being stopped (the run was cleared, say) may end before we let go."""
_AGAIN = 2.0
_RETRY = 5.0


class KeepScopeTrigger(BaseTrigger):
    """Renews what the scope's first task has taken, until its last task gives it back.

    It gives it back itself if that task will not, or if the run is no longer running, and then only if no member is at
    work; in doubt the lease ends by its ttl. Members renew it too while they run, so they lose nothing by that.

    :param acquire_id: the scope's first task; the lease is the one that this task of the same run holds
    :param release_id: the scope's last task
    :param members: the tasks between
    :param lease_conn_id: connection of the database with the locks; None: the configured one
    :param from_worker: whether a worker's leg came before (then the first event must not come too fast)
    """

    def __init__(
        self,
        *,
        acquire_id: str,
        release_id: str,
        members: list[str],
        lease_conn_id: str | None = None,
        from_worker: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.acquire_id, self.release_id, self.members = acquire_id, release_id, members
        self.lease_conn_id, self.from_worker = lease_conn_id, from_worker
        self._leases: list[Lease] = []

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "acquire_id": self.acquire_id,
                "release_id": self.release_id,
                "members": self.members,
                "lease_conn_id": self.lease_conn_id,
                "from_worker": self.from_worker,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        settled = Settled()
        hook = LeaseHook(self.lease_conn_id)
        await hook.resolve()
        coordinator = Coordinator.of(hook)
        leases = self._leases = await self._find(hook)
        log.info("keeping %s until %s is done", _label(leases) or "nothing", self.release_id)
        kept = [
            coordinator.keep(
                lock_name=lease.lock_name, owner_id=lease.owner_id, token=lease.token, ttl=lease.ttl, every=LOOK
            )
            for lease in leases
        ]
        try:
            lost = await self._keep(kept)
        finally:
            for one in kept:
                coordinator.forget(one)
        if lost is None:
            await self._give_back(hook)
        well = lost is None or await self._ended_well(hook, leases)
        if not well:
            log.error("the scope's lease was lost: %s. Its members will not go on under it", lost)
        if self.from_worker:
            await settled.wait()
        yield TaskSuccessEvent() if well else TaskFailedEvent()

    async def on_kill(self) -> None:
        await to_the_end(self._kill())

    async def _kill(self) -> None:
        ti: Any = self.task_instance
        if await still_deferred(ti):
            log.info("the lease of %s stays: its keeper is still deferred", self.acquire_id)
            return
        hook = LeaseHook(self.lease_conn_id)
        await hook.resolve()
        await self._give_back(hook)

    async def _keep(self, kept: list[Kept]) -> str | None:
        """Return why a lease is gone, or None when the scope is over by what Airflow says."""
        if not kept:
            return "there is none"
        ask_at = time.monotonic() + ASK
        while True:
            await asyncio.wait([one.lost for one in kept], timeout=LOOK, return_when=asyncio.FIRST_COMPLETED)
            if lost := [one for one in kept if one.lost.done()]:
                return f"{lost[0].lease.lock_name!r}: {lost[0].lost.result()}"
            if time.monotonic() >= ask_at:
                ask_at = time.monotonic() + ASK
                if await self._is_over():
                    return None

    async def _is_over(self) -> bool:
        ti: Any = self.task_instance
        states = await task_states(ti, task_ids=[self.release_id, ti.task_id], map_index=ti.map_index) or {}
        suffix = f"_{ti.map_index}" if ti.map_index is not None and ti.map_index >= 0 else ""
        if states.get(self.release_id + suffix) in FINISHED_TASK:
            return True
        # Airflow 3.3.2 does not cancel the trigger of a cleared task before that is scheduled again (its state is NULL,
        # and ``!= 'deferred'`` overlooks that); ours would not be, as the first task waits for the lease that we keep.
        if states.get(ti.task_id + suffix, "deferred") != "deferred":
            return True
        return await run_is_finished(ti) is True

    async def _give_back(self, hook: LeaseHook) -> None:
        """Release what we have kept, unless a member may still be at work: then it ends by its ttl."""
        until = time.monotonic() + PATIENCE
        while working := await self._at_work():
            if time.monotonic() >= until:
                log.warning("%s still at work: the lease of %s ends by its ttl", ", ".join(working), self.acquire_id)
                return
            await asyncio.sleep(_AGAIN)
        if working is None:
            log.warning("no state of this run is known: the lease of %s ends by its ttl", self.acquire_id)
            return
        await asyncio.to_thread(self._release, hook)

    async def _at_work(self) -> list[str] | None:
        """Members of which something may be going on. None: that cannot be found out."""
        ti: Any = self.task_instance
        states = await task_states(ti, map_index=ti.map_index)
        if states is None:
            return None
        return sorted(name for name, state in states.items() if state in AT_WORK and self._is_member(name))

    def _is_member(self, name: str) -> bool:
        return name in self.members or re.sub(r"_\d+$", "", name) in self.members

    async def _find(self, hook: LeaseHook) -> list[Lease]:
        while True:
            try:
                return await asyncio.to_thread(self._held, hook)
            except LockProviderError as error:
                log.warning("the lease of %s cannot be looked up, trying again: %s", self.acquire_id, error)
            await asyncio.sleep(_RETRY)

    async def _ended_well(self, hook: LeaseHook, leases: list[Lease]) -> bool:
        """Whether it was given back, as far as is known: by the scope's last task, say, before we came."""
        if leases:
            try:
                return await asyncio.to_thread(self._was_given_back, hook, leases)
            except LockProviderError:
                return False
        return await self._is_over()

    # In threads: each closes the connection that it opened.

    def _held(self, hook: LeaseHook) -> list[Lease]:
        ti: Any = self.task_instance
        try:
            return scope_leases(
                hook, dag_id=ti.dag_id, run_id=ti.run_id, acquire_id=self.acquire_id, map_index=ti.map_index
            )
        finally:
            hook.close()

    def _was_given_back(self, hook: LeaseHook, leases: list[Lease]) -> bool:
        try:
            return all(hook.last_event(lease.lock_name, lease.owner_id) == "released" for lease in leases)
        finally:
            hook.close()

    def _release(self, hook: LeaseHook) -> None:
        # These and no others: when the run was cleared, the first task's new try may have its own by now.
        try:
            for lease in self._leases:
                hook.release(lease)
        finally:
            hook.close()


def _label(leases: list[Lease]) -> str:
    return ", ".join(f"{lease.lock_name!r} (token {lease.token})" for lease in leases)
