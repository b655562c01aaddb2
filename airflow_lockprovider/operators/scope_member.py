"""One try of a task inside a scope: it works under the scope's lease, and never without a lock."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow_lockprovider.lease.errors import LeaseLost
from airflow_lockprovider.lease.lease_set import LeaseSet
from airflow_lockprovider.lease.model import Lease
from airflow_lockprovider.operators.attempt import Attempt
from airflow_lockprovider.operators.wanted import Wanted
from airflow_lockprovider.triggers.keeping import KeepLeaseTrigger
from airflow_lockprovider.triggers.scope_keeping import KeepScopesLeaseTrigger
from airflow_lockprovider.triggers.scope_lease import scope_leases

_FINISHED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


class MemberAttempt(Attempt):
    """Confirms the scope's lease before the body.

    If the scope is over (this task was cleared alone, or is run by itself) the task takes the lock as any locked task
    does. If the lease was lost while the scope is open, it raises LeaseLost: what was done before, under that lease,
    may have been overtaken by somebody else.
    """

    def __init__(self, wanted: Wanted, ti: Any, log: logging.Logger) -> None:
        assert wanted.scope is not None
        self._scope, self._ti = wanted.scope, ti
        self._map_index = self._scope.map_index(ti.map_index)
        self._granted = _granted(ti, self._scope.acquire_id, self._map_index)
        if self._granted:
            # A template may come to another name here than in the task that took the lock.
            wanted = wanted.named(_in_order(wanted, self._granted["names"]))
        super().__init__(wanted, ti, log)

    def enter(self, method: str, kwargs: dict[str, Any]) -> Lease | LeaseSet:
        if (lease := self._confirmed()) is not None:
            return lease
        if (loss := self._loss()) is not None:
            raise loss
        self._log.info("the scope of %s is over, this task takes %s itself", self._scope.acquire_id, self.wanted.noun)
        return super().enter(method, kwargs)

    def held(self) -> Lease | LeaseSet | None:
        return super().held() or self._confirmed()

    def take_up(self, tokens: Mapping[str, int]) -> Lease | LeaseSet:
        if self._ours():
            return super().take_up(tokens)
        lease = self._confirmed()
        if lease is None or {one.lock_name: one.token for one in lease.leases} != dict(tokens):
            raise self._loss() or LeaseLost(
                f"the scope of {self._scope.acquire_id} gave {self.wanted.noun} back while this task was deferred",
                lock_name=self.wanted.lock_name,
            )
        return lease

    def release(self, lease: Lease | LeaseSet) -> None:
        if lease.owner_id == self.owner_id:
            super().release(lease)
        else:
            self.hook.close()  # the scope's: its last task gives it back

    def tell(self, lease: Lease | LeaseSet, *, again: bool) -> None:
        if lease.owner_id == self.owner_id:
            super().tell(lease, again=again)
        else:
            what = ", ".join(f"{one.lock_name!r} (token {one.token})" for one in lease.leases)
            self._log.info("the scope of %s holds %s, the work may begin", self._scope.acquire_id, what)

    def keeping(self, lease: Lease | LeaseSet) -> type[KeepLeaseTrigger]:
        return super().keeping(lease) if lease.owner_id == self.owner_id else KeepScopesLeaseTrigger

    def _confirmed(self) -> Lease | LeaseSet | None:
        """The scope's lease, renewed; None: the scope does not hold it now."""
        ti = self._ti
        found = scope_leases(
            self.hook,
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            acquire_id=self._scope.acquire_id,
            map_index=self._map_index,
        )
        if len(found) < len(self.wanted.locks):
            return None
        try:
            lease = self.hook.renew(LeaseSet(tuple(found)) if self.wanted.several else found[0])
        except LeaseLost:
            return None
        self.last_answer = lease
        return lease

    def _loss(self) -> LeaseLost | None:
        """Why the scope has its lease no longer, if that must stop us; None: it is over, or never had one."""
        if not self._granted or self._is_over():
            return None
        owner_id = self._granted["owner_id"]
        ends = {name: self.hook.last_event(name, owner_id) for name in self.wanted.names}
        if all(event == "released" for event in ends.values()):
            return None
        why = " and ".join(
            f"{name!r} ({event if event in ('released', 'revoked') else 'it expired'})" for name, event in ends.items()
        )
        return LeaseLost(
            f"the scope's lease on {why} was lost before its last task: clear {self._scope.acquire_id!r} and what "
            "follows it, to begin the scope anew",
            lock_name=self.wanted.lock_name,
        )

    def _is_over(self) -> bool:
        """Whether the scope's last task is done. In doubt it is not: then we stop."""
        ti, release_id = self._ti, self._scope.release_id
        try:
            states = ti.get_task_states(
                dag_id=ti.dag_id,
                task_ids=[release_id],
                run_ids=[ti.run_id],
                map_index=self._map_index if self._map_index >= 0 else None,
            )
        except Exception:
            self._log.warning("cannot find out whether %s is done, taking it that it is not", release_id, exc_info=True)
            return False
        key = release_id if self._map_index < 0 else f"{release_id}_{self._map_index}"
        return (states.get(ti.run_id) or {}).get(key) in _FINISHED


def _granted(ti: Any, acquire_id: str, map_index: int) -> dict[str, Any] | None:
    """What the scope's first task said when it had the lock; None: it never had it in this run."""
    said = ti.xcom_pull(task_ids=acquire_id, map_indexes=map_index, default=None)
    return said if isinstance(said, dict) and {"owner_id", "names"} <= said.keys() else None


def _in_order(wanted: Wanted, names: list[str]) -> list[str]:
    """The names as they were granted, if they fit the locks that are declared now."""
    return list(names) if len(names) == len(wanted.locks) else wanted.names
