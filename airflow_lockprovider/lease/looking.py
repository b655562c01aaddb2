"""The engine's verbs that only look."""

from __future__ import annotations

from airflow_lockprovider.lease.blocking import explain
from airflow_lockprovider.lease.calls import Calls
from airflow_lockprovider.lease.model import Lease, LeaseEvent, Waiter


class LookingVerbs(Calls):
    """Part of `LeaseEngine`: who holds, who waits, what happened."""

    def leases(self, name: str | None = None, *, owner_id: str | None = None) -> list[Lease]:
        """The living leases and reservations, of one lock or of one owner."""
        sent = self.clock()
        return [self._lease(row, sent) for row in self.store.call("leases", lock_name=name, owner_id=owner_id)]

    def queue(self, name: str | None = None, *, owner_id: str | None = None) -> list[Waiter]:
        """Who waits, in order, and for what."""
        # The whole line, also for one owner: older requests of others stand in its way.
        rows = self.store.call("queue", lock_name=name, owner_id=None, skip_after=self.settings.skip_after)
        if not any(owner_id in (None, row["owner_id"]) for row in rows):
            return []
        waiters = explain([self._waiter(row) for row in rows], self.store.call("holders", lock_name=name))
        return [waiter for waiter in waiters if owner_id in (None, waiter.owner_id)]

    def last_event(self, name: str, owner_id: str) -> str | None:
        """What happened last to this owner on this lock: "released", "expired" …; None if it was never heard of."""
        rows = self.store.call("last_event", lock_name=name, owner_id=owner_id)
        return rows[0]["event"] if rows else None

    def history(self, name: str | None = None, limit: int = 100) -> list[LeaseEvent]:
        """What happened, newest first."""
        return [LeaseEvent(**row) for row in self.store.call("history", lock_name=name, limit=limit)]
