"""Finds the lease of a scope: the one that its first task has taken in this run."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_lockprovider.hooks.lease import LeaseHook
from airflow_lockprovider.lease.model import Lease


def scope_leases(hook: LeaseHook, *, dag_id: str, run_id: str, acquire_id: str, map_index: int) -> list[Lease]:
    """What the task ``acquire_id`` of this run holds now, as the database says, in the order of the lock names.

    Of several tries of it (it was cleared while the lock has room for two, say) only the newest. Empty: nothing.
    """
    place = {"dag_id": dag_id, "run_id": run_id, "task_id": acquire_id, "map_index": map_index}
    held = [lease for lease in hook.leases() if lease.state == "held" and place.items() <= lease.context.items()]
    return [lease for lease in held if lease.owner_id == _newest(held).owner_id]


def _newest(leases: Sequence[Lease]) -> Lease:
    return max(leases, key=lambda lease: lease.created_at)
