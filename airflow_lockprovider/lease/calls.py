"""What all verbs of the engine are made of: calls to one store, and their answers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from airflow_lockprovider.lease import clock, driver
from airflow_lockprovider.lease.lease_set import LeaseSet
from airflow_lockprovider.lease.listener import Listener
from airflow_lockprovider.lease.model import Busy, Lease, Waiter
from airflow_lockprovider.lease.request import Request
from airflow_lockprovider.lease.settings import LeaseSettings
from airflow_lockprovider.lease.store import Store

Row = dict[str, Any]
_OF_WAITER = [field.name for field in fields(Waiter) if field.name != "blocked_by"]


class Calls:
    """One store, and the settings and the clock that go with it. A connection per thread, opened by the first verb."""

    def __init__(
        self,
        store: Store,
        settings: LeaseSettings | None = None,
        *,
        clock: Callable[[], float] = clock.boottime,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.store = store
        self.settings = settings or LeaseSettings()
        self.clock = clock
        self._sleep = sleep

    def listener(self) -> Listener:
        """What wakes the calling thread when locks change. To be closed by it."""
        return Listener(self.store, enabled=self.settings.listen)

    def limit_calls(self, seconds: float) -> None:
        """Verbs of the calling thread give up on a database that does not answer after this long."""
        self.store.limit_calls(seconds)

    def close(self) -> None:
        """Close the calling thread's connection; the next verb opens a new one."""
        self.store.close()

    # Inside

    def _decision(
        self, rows: list[Row], sent: float, several: bool, lock_name: str | None = None
    ) -> Lease | LeaseSet | Busy:
        if rows[0]["outcome"] == "granted":
            leases = tuple(self._lease(row, sent) for row in rows)
            return LeaseSet(leases) if several or len(leases) > 1 else leases[0]
        names = dict.fromkeys(row["lock_name"] for row in rows)
        return Busy(
            lock_name or ", ".join(names),
            tuple(self._lease(row, sent) for row in rows if row["token"] is not None),
            position=rows[0]["position"],
            paused=any(row["paused"] for row in rows),
        )

    def _lease(self, row: Row, sent: float) -> Lease:
        context = row["context"]
        return Lease(
            lock_name=row["lock_name"],
            owner_id=row["owner_id"],
            owner=row["owner"],
            token=row["token"],
            units=row["units"],
            shared=row["shared"],
            state=row["state"],
            ttl=row["ttl"],
            remaining=row["remaining"],
            created_at=row["created_at"],
            expires_at=row["expires_at"],
            context=json.loads(context) if isinstance(context, str) else context or {},
            ticket=row["ticket"],
            waited=row["waited"] or 0.0,
            trusted_until=sent + row["remaining"],
            guard=self.store.guard_text(row["lock_name"], row["token"]),
        )

    def _waiter(self, row: Row) -> Waiter:
        waiter = {name: row[name] for name in _OF_WAITER}
        if isinstance(waiter["context"], str):
            waiter["context"] = json.loads(waiter["context"])
        return Waiter(**waiter)

    def _one(self, call: str, **params: Any) -> Any:
        (row,) = self.store.call(call, **params)
        (value,) = row.values()
        return value

    def _call_declared(self, request: Request, call: str, **params: Any) -> list[Row]:
        params |= request.params()
        try:
            return self.store.call(call, **params)
        except driver.LockMissing:
            # In a call, so a transaction, of its own: two first users must not wait for each other's decisions.
            self.store.call("declare", lock_names=params["lock_names"], capacity=params["capacity"])
            return self.store.call(call, **params)
