"""What an on-call engineer may find at 3 am: a lock that is silent, one that is paused, a line of waiters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from airflow_lockprovider.lease import Lease
from tests.ui.conftest import Ui


def backdate(dsn: str, lock: str, minutes: float) -> None:
    """Its leases have been held for so long already."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "update lockprovider.lease set created_at = created_at - make_interval(mins => %s) where lock_name = %s",
            (minutes, lock),
        )


@contextmanager
def busy_night(ui: Ui) -> Iterator[None]:
    """More locks, more who wait; all of it is gone at the end."""
    held = [
        _held(ui, "dwh.customers", "nightly_crm", "load", ttl=120),
        _held(ui, "dwh.reports", "reports_eu", "refresh", capacity=3),
        _held(ui, "dwh.reports", "reports_us", "refresh", capacity=3),
    ]
    for lock, minutes in (("dwh.customers", 12), ("dwh.reports", 6)):
        backdate(ui.dsn, lock, minutes)
    with psycopg.connect(ui.dsn, autocommit=True) as connection:
        connection.execute(
            "update lockprovider.lease set expires_at = clock_timestamp() + interval '50 s' where lock_name = %s",
            ("dwh.customers",),
        )
    ui.locks.pause("dwh.fx_rates", "ann", "the bank has sent wrong rates, we reload them at 9")
    tickets = [
        ui.locks.enqueue(lock, owner_id=f"waits {dag}", owner=f"{dag}/{_RUN}/{task}#1", context=_context(dag, task))
        for lock, dag, task in (("dwh.sales", "sales_to_crm", "copy"), ("dwh.sales", "forecast", "features"),
                                ("dwh.stock", "stock_levels", "merge"))
    ]  # fmt: skip
    try:
        ui.locks.poll("a triggerer", [ticket.number for ticket in tickets])
        yield
    finally:
        for ticket in tickets:
            ui.locks.withdraw(ticket.number, ticket.owner_id)
        ui.locks.resume("dwh.fx_rates", "ann")
        for lease in held:
            ui.locks.release(lease)


_RUN = "scheduled__2026-11-21T03:00:00+00:00"


def _context(dag: str, task: str) -> dict[str, object]:
    return {"dag_id": dag, "run_id": _RUN, "task_id": task, "map_index": -1, "try_number": 1}


def _held(ui: Ui, lock: str, dag: str, task: str, *, ttl: float = 3600, capacity: int | None = None) -> Lease:
    owner = f"{dag}/{_RUN}/{task}#1"
    lease = ui.locks.try_acquire(
        lock, owner_id=f"{dag} holds", owner=owner, context=_context(dag, task), ttl=ttl, capacity=capacity
    )
    assert lease
    return lease
