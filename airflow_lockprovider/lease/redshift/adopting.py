"""A retry takes over the leases of an earlier attempt that is dead, with new tokens, before everybody in line."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.lease.redshift import answer
from airflow_lockprovider.lease.redshift.desk import Desk
from airflow_lockprovider.lease.redshift.grant import check_locks, grant
from airflow_lockprovider.lease.redshift.request import Wanted, check, wanted
from airflow_lockprovider.lease.redshift.session import Row
from airflow_lockprovider.lease.redshift.transaction import FenceNeeded, Transaction


def adopt(
    desk: Desk,
    *,
    lock_names: Sequence[str],
    owner_id: str,
    previous_owner_id: str,
    owner: str | None = None,
    ttl: float = 120.0,
    context: str | None = None,
) -> list[Row]:
    """Grant what the earlier attempt holds. The old tokens die at once.

    busy: a guarded transaction is open under one of them; what drains is kept for the new owner for its ttl.
    gone: the earlier attempt does not hold all of these locks.
    """
    wants = wanted(lock_names)
    check(wants, owner_id, ttl)
    if previous_owner_id in ("", None, owner_id):
        raise ConfigurationError(
            f"previous_owner_id={previous_owner_id} must name the earlier attempt, not this one; "
            "every attempt has an owner_id of its own"
        )

    def decision(transaction: Transaction) -> list[Row]:
        transaction.load(lock_names)
        check_locks(transaction, wants)
        transaction.sweep(lock_names)
        held = [row for row in transaction.leases if row["state"] == "held" and transaction.living(row)]
        mine = [row for row in held if row["owner_id"] == owner_id]
        # The answer to an earlier call was lost: it holds.
        if [row["lock_name"] for row in mine] == [one.lock_name for one in wants]:
            return [answer.granted(transaction, row) for row in mine]
        previous = [row for row in held if row["owner_id"] == previous_owner_id]
        taken = [row for row in transaction.leases if _was_taken(transaction, row, owner_id)]
        if sorted(row["lock_name"] for row in previous + taken) != [one.lock_name for one in wants]:
            return [{**answer.gone(0)[0], "ticket": None}]
        names = [one.lock_name for one in wants]
        if any(transaction.locks[name]["paused"] for name in names):
            return answer.busy(transaction, names, None, 0)
        if not transaction.draining and set(names) - set(transaction.fences):
            raise FenceNeeded(names)

        for lease in previous:
            lease.update(owner_id=owner_id, hold_until=transaction.now + timedelta(seconds=ttl))
            held_for = (transaction.now - lease["created_at"]).total_seconds()
            transaction.log("adopted", {**lease, "owner_id": previous_owner_id}, held=held_for, actor=owner or owner_id)
            transaction.take(lease)
        if set(names) - set(transaction.fences):
            return answer.busy(transaction, names, None, 0)
        olds = sorted(previous + taken, key=lambda row: str(row["lock_name"]))
        for lease in olds:
            transaction.remove(lease)
        return grant(
            transaction,
            [Wanted(row["lock_name"], row["units"], row["shared"]) for row in olds],
            owner_id=owner_id,
            owner=owner or owner_id,
            context=context or olds[-1]["context"],
            state="held",
            seconds=ttl,
        )

    return desk.decide(decision)


def _was_taken(transaction: Transaction, lease: Row, owner_id: str) -> bool:
    """Whether an earlier call of the same adopter has taken this lease, and it drains."""
    if lease["owner_id"] != owner_id or lease["state"] != "released":
        return False
    endings = transaction.run("endings", lock_name=lease["lock_name"], token=lease["token"])
    return [ending["event"] for ending in endings] == ["adopted"]
