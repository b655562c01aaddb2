"""The verbs that only look. They take no lock and hold nobody up."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow_lockprovider.lease.redshift import answer
from airflow_lockprovider.lease.redshift.desk import Desk
from airflow_lockprovider.lease.redshift.line import seen_at
from airflow_lockprovider.lease.redshift.session import Row
from airflow_lockprovider.lease.redshift.transaction import Transaction


def leases(desk: Desk, *, lock_name: str | None = None, owner_id: str | None = None) -> list[Row]:
    """The living leases and reservations."""

    def look(transaction: Transaction) -> list[Row]:
        if lock_name is not None:
            names = [lock_name]
        elif owner_id is not None:
            names = _names(transaction, "leases_of_owner", owner_id=owner_id)
        else:
            names = _names(transaction, "names_of_leases")
        transaction.load(names)
        return [
            answer.granted(transaction, row)
            for row in transaction.leases
            if transaction.living(row) and owner_id in (None, row["owner_id"])
        ]

    return desk.look(look)


def queue(
    desk: Desk, *, lock_name: str | None = None, owner_id: str | None = None, skip_after: float = 10.0
) -> list[Row]:
    """Who waits, in order. Who has a reservation stands in line no more."""

    def look(transaction: Transaction) -> list[Row]:
        if lock_name is not None:
            names = [lock_name]
        elif owner_id is not None:
            names = _names(transaction, "names_of_owner", owner_id=owner_id)
        else:
            names = _names(transaction, "names_of_waiters")
        transaction.load(names)
        reserved = {
            (row["lock_name"], row["ticket"])
            for row in transaction.leases
            if row["state"] == "reserved" and transaction.living(row)
        }
        rows: list[Row] = []
        for name in sorted(set(names)):
            line = [
                row for row in transaction.waiters if row["lock_name"] == name and (name, row["ticket"]) not in reserved
            ]
            rows += [_waiter(transaction, row, place, skip_after) for place, row in enumerate(line, start=1)]
        return [row for row in rows if owner_id in (None, row["owner_id"])]

    return desk.look(look)


def holders(desk: Desk, *, lock_name: str | None = None) -> list[Row]:
    """Every lock with each lease that counts; without a name, the locks that somebody waits for."""

    def look(transaction: Transaction) -> list[Row]:
        transaction.load([lock_name] if lock_name is not None else _names(transaction, "names_of_waiters"))
        rows: list[Row] = []
        about = ("token", "owner_id", "owner", "units", "shared", "state")
        for name in sorted(transaction.locks):
            lock = {column: transaction.locks[name][column] for column in ("lock_name", "capacity", "paused", "note")}
            # What is over stays in the table until a grant removes it; whether it drains, only that grant finds out.
            counting = [row for row in transaction.leases_of(name) if transaction.living(row) or transaction.kept(row)]
            there = counting or [dict.fromkeys(about)]
            rows += [{**lock, **{column: row[column] for column in about}} for row in there]
        return rows

    return desk.look(look)


def history(desk: Desk, *, lock_name: str | None = None, limit: int = 100) -> list[Row]:
    """What happened, newest first."""
    if lock_name is None:
        rows = desk.session.run("history", limit=limit)
    else:
        rows = desk.session.run("history_of", lock_name=lock_name, limit=limit)
    return [{**row, "at": answer.utc(row["at"])} for row in rows]


def last_event(desk: Desk, *, lock_name: str, owner_id: str) -> list[Row]:
    """What happened last to this owner on this lock."""
    return desk.session.run("last_event", lock_name=lock_name, owner_id=owner_id)


def missing_roles(desk: Desk) -> list[Row]:
    """None: on Redshift the owner of the schema grants rights by hand (docs/redshift.md)."""
    return [{"roles": None}]


def _names(transaction: Transaction, call: str, **params: Any) -> list[str]:
    return sorted({row["lock_name"] for row in transaction.run(call, **params)})


def _waiter(transaction: Transaction, row: Row, position: int, skip_after: float) -> Row:
    names = ("ticket", "lock_name", "owner_id", "owner", "units", "shared", "priority")
    return {
        **{name: row[name] for name in names},
        "created_at": answer.utc(row["created_at"]),
        "waited": (transaction.now - row["created_at"]).total_seconds(),
        "position": position,
        "alive": seen_at(row) > transaction.now - timedelta(seconds=skip_after),
        "context": row["context"],
    }
