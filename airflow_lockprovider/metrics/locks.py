"""Gauges of all locks: what is held, and who waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from airflow_lockprovider.lease.model import Lease, Waiter
from airflow_lockprovider.metrics.emitting import gauge


def report_locks(
    leases: Iterable[Lease], waiters: Iterable[Waiter], *, known: Iterable[str] = ()
) -> tuple[dict[str, int], dict[str, int]]:
    """Set ``lockprovider.held`` (units) and ``lockprovider.waiting`` (requests), per lock and in all.

    ``known``: names of locks that are reported with 0 if there is nothing. Returns both, by lock.
    """
    held: Counter[str] = Counter(dict.fromkeys(known, 0))
    waiting: Counter[str] = Counter(dict.fromkeys(known, 0))
    for lease in leases:
        held[lease.lock_name] += lease.units
    for waiter in waiters:
        waiting[waiter.lock_name] += 1
    names = sorted(held.keys() | waiting.keys())
    for name in names:
        gauge("held", held[name], lock_name=name)
        gauge("waiting", waiting[name], lock_name=name)
    gauge("held_total", held.total())
    gauge("waiting_total", waiting.total())
    return {name: held[name] for name in names}, {name: waiting[name] for name in names}
