"""What has been done under which key: the calls of functions_once.sql."""

from __future__ import annotations

from datetime import timedelta

from airflow_lockprovider.lease.errors import ConfigurationError, LeaseLost
from airflow_lockprovider.lease.redshift import answer
from airflow_lockprovider.lease.redshift.desk import Desk
from airflow_lockprovider.lease.redshift.session import Row
from airflow_lockprovider.lease.redshift.transaction import Transaction

_LIMIT = 500


def done(desk: Desk, *, lock_name: str, once_key: str) -> list[Row]:
    """The lock's capacity, and who has done the work of the key; nulls where there is nothing. One row always."""

    def look(transaction: Transaction) -> list[Row]:
        transaction.load([lock_name])
        lock = transaction.locks.get(lock_name)
        row = _recorded(transaction, lock_name, once_key) or dict.fromkeys(("token", "owner_id", "owner", "done_at"))
        return [{"capacity": lock["capacity"] if lock else None, **row}]

    return desk.look(look)


def mark_done(desk: Desk, *, lock_name: str, token: int, owner_id: str, once_key: str) -> list[Row]:
    """Record that the work of this key is done. Grants take the mutex as well, so the owner is still the owner."""
    if not (once_key or "").strip() or len(once_key) > _LIMIT:
        raise ConfigurationError(f'once key "{(once_key or "")[:40]}" must have 1 to {_LIMIT} characters')

    def decision(transaction: Transaction) -> list[Row]:
        transaction.load([lock_name])
        mine = [row for row in transaction.leases if (row["token"], row["owner_id"]) == (token, owner_id)]
        if not mine or mine[0]["state"] != "held" or not transaction.living(mine[0]):
            raise LeaseLost(
                f'lease on "{lock_name}" with token {token} is not held by this owner any more: '
                "only its owner can say that its work is done",
                lock_name=lock_name,
            )
        (lease,) = mine
        if lease["shared"] or lease["units"] * 2 <= transaction.locks[lock_name]["capacity"]:
            raise ConfigurationError(
                f'lock "{lock_name}" lets several owners work at once, so none of them can promise to be the only one; '
                "take an exclusive lease of more than half of the capacity"
            )
        if (there := _recorded(transaction, lock_name, once_key)) is not None:
            return [there]
        about = {name: lease[name] for name in ("lock_name", "token", "owner_id", "owner")}
        transaction.run("new_done", once_key=once_key, done_at=transaction.now, **about)
        held = (transaction.now - lease["created_at"]).total_seconds()
        transaction.log("done", lease, held=held, reason=once_key)
        return [{**about, "once_key": once_key, "done_at": answer.utc(transaction.now)}]

    return desk.decide(decision)


def forget_done(desk: Desk, *, lock_name: str | None, once_key: str | None, older_than: float = 0.0) -> list[Row]:
    """Forget one key, or (name and key None) all that was done longer ago than ``older_than`` seconds."""
    if (lock_name is None) != (once_key is None) or (once_key is None and not older_than > 0):
        raise ConfigurationError("forget_done needs a lock with a key, or an age")

    def one(transaction: Transaction) -> list[Row]:
        there = _recorded(transaction, str(lock_name), str(once_key))
        if there is None:
            return [{"forget_done": 0}]
        transaction.run("remove_done", lock_name=lock_name, once_key=once_key)
        transaction.log("forgotten", {**there, "lock_name": lock_name}, reason=once_key)
        return [{"forget_done": 1}]

    def old(transaction: Transaction) -> list[Row]:
        before = transaction.now - timedelta(seconds=older_than)
        (row,) = transaction.run("count_done", before=before)
        transaction.run("prune_done", before=before)
        return [{"forget_done": int(row["found"])}]

    return desk.decide(old if once_key is None else one)


def _recorded(transaction: Transaction, lock_name: str, once_key: str) -> Row | None:
    rows = transaction.run("done_of", lock_name=lock_name, once_key=once_key)
    return {**rows[0], "done_at": answer.utc(rows[0]["done_at"])} if rows else None
