"""The engine's verbs for the owner of a lease: prolong it, give it back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import overload

from airflow_lockprovider.lease.calls import Calls
from airflow_lockprovider.lease.duration import Duration, seconds
from airflow_lockprovider.lease.errors import LeaseLost
from airflow_lockprovider.lease.lease_set import LeaseSet
from airflow_lockprovider.lease.model import Lease, Renewal


class KeepingVerbs(Calls):
    """Part of `LeaseEngine`: what an owner does with what was granted."""

    @overload
    def renew(self, lease: Lease, ttl: Duration | None = None) -> Lease: ...
    @overload
    def renew(self, lease: LeaseSet, ttl: Duration | None = None) -> LeaseSet: ...
    def renew(self, lease: Lease | LeaseSet, ttl: Duration | None = None) -> Lease | LeaseSet:
        """Prolong the lease: returns a new value. Raises LeaseLost when it (or one of the set) is no longer ours."""
        longer = None if ttl is None else seconds(ttl, setting="ttl")
        wanted = {one.lock_name: replace(one, ttl=longer or one.ttl) for one in lease.leases}
        open_names = list(wanted)
        for attempt in range(10):
            if attempt:
                self._sleep(0.1)  # a row is locked by a decision that is being made
            answers = self.renew_many([wanted[name] for name in open_names])
            for answer in answers:
                if answer.outcome == "lost":
                    raise LeaseLost(f"{answer.lease} was lost: {answer.reason}", lock_name=answer.lease.lock_name)
                wanted[answer.lease.lock_name] = answer.lease
            open_names = [answer.lease.lock_name for answer in answers if answer.outcome == "skipped"]
            if not open_names:
                break
        # Whatever is still open is ours by the database's word, only not longer.
        renewed = tuple(wanted.values())
        return LeaseSet(renewed) if isinstance(lease, LeaseSet) else renewed[0]

    def renew_many(self, leases: Sequence[Lease]) -> list[Renewal]:
        """Prolong many leases in one call, each by its own ttl. Never waits for a locked row."""
        if not leases:
            return []
        sent = self.clock()
        rows = self.store.call(
            "renew",
            lock_names=[lease.lock_name for lease in leases],
            tokens=[lease.token for lease in leases],
            owner_ids=[lease.owner_id for lease in leases],
            ttls=[lease.ttl for lease in leases],
        )
        answers = {(row["lock_name"], row["token"]): row for row in rows}
        renewals = []
        for lease in leases:
            row = answers[lease.lock_name, lease.token]
            if row["outcome"] == "renewed":
                lease = replace(
                    lease,
                    ttl=row["ttl"],
                    remaining=row["remaining"],
                    expires_at=row["expires_at"],
                    trusted_until=sent + row["remaining"],
                )
            renewals.append(Renewal(lease, row["outcome"], row["reason"] or ""))
        return renewals

    def release(self, lease: Lease | LeaseSet) -> bool:
        """Give the lease back. Never waits for a guarded transaction. False: it was already gone."""
        # Each by itself: who waits for one of them need not wait for the rest.
        answers = [
            bool(self._one("release", lock_name=one.lock_name, token=one.token, owner_id=one.owner_id))
            for one in lease.leases
        ]
        return all(answers)
