"""The engine's verbs for people: take away, pause, change, tidy up."""

from __future__ import annotations

from airflow_lockprovider.lease.calls import Calls
from airflow_lockprovider.lease.model import Lease


class SteeringVerbs(Calls):
    """Part of `LeaseEngine`: what a person may do to a lock, whoever holds it."""

    def revoke(
        self, name: str, by: str, reason: str, *, token: int | None = None, terminate: bool = False
    ) -> list[Lease]:
        """Take the lock away from all its owners (or from one token), recorded with person and reason.

        A reservation goes together with its place in line, on all locks of its ticket: else it would be made anew at
        once. What a lease was to be held at least ends too.
        ``terminate`` also ends the database sessions whose guarded transaction is still open.
        """
        sent = self.clock()
        rows = self.store.call("revoke", lock_name=name, actor=by, reason=reason, token=token, terminate=terminate)
        return [self._lease(row, sent) for row in rows]

    def pause(self, name: str, by: str, reason: str) -> bool:
        """Grant nothing on this lock until `resume`; who holds it goes on. False: no such lock."""
        return bool(self._one("pause", lock_name=name, actor=by, reason=reason))

    def resume(self, name: str, by: str, reason: str | None = None) -> bool:
        """End a pause. False: it was not paused."""
        return bool(self._one("resume", lock_name=name, actor=by, reason=reason))

    def set_capacity(self, name: str, capacity: int) -> None:
        """Change how many units a lock has. Leases that are out stay."""
        self._one("set_capacity", lock_name=name, capacity=capacity)

    def clean_up(self) -> int:
        """Remove what has expired and forget waiters that nobody looks after. Returns how many."""
        return int(self._one("clean_up", prune_after=self.settings.prune_after))
