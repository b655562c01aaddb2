"""The verbs that prolong, give back and take away."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from airflow_lockprovider.lease.errors import ConfigurationError, StoreError
from airflow_lockprovider.lease.redshift import answer
from airflow_lockprovider.lease.redshift.desk import Desk
from airflow_lockprovider.lease.redshift.fence import fence_table
from airflow_lockprovider.lease.redshift.request import check_ttl
from airflow_lockprovider.lease.redshift.session import Row
from airflow_lockprovider.lease.redshift.transaction import Transaction


def renew(
    desk: Desk,
    *,
    lock_names: Sequence[str],
    tokens: Sequence[int],
    owner_ids: Sequence[str],
    ttls: Sequence[float],
) -> list[Row]:
    """Prolong leases: one transaction, and one UPDATE for all that have the same ttl."""
    for ttl in ttls:
        check_ttl(ttl)

    def decision(transaction: Transaction) -> list[Row]:
        transaction.load(lock_names)
        now = transaction.now
        there = {(row["lock_name"], row["token"], row["owner_id"]): row for row in transaction.leases}
        rows: list[Row] = []
        due: dict[float, list[int]] = {}
        for name, token, owner_id, ttl in zip(lock_names, tokens, owner_ids, ttls, strict=True):
            lease = there.get((name, token, owner_id))
            expires: datetime | None
            row: Row = {"lock_name": name, "token": token, "outcome": "lost", "ttl": ttl, "reason": None}
            if lease is not None and transaction.living(lease):
                due.setdefault(float(ttl), []).append(token)
                expires = now + timedelta(seconds=ttl)
                row |= {"outcome": "renewed", "remaining": float(ttl), "expires_at": answer.utc(expires)}
            else:
                expires = lease["expires_at"] if lease else None
                row["remaining"] = (expires - now).total_seconds() if expires else None
                row |= {"expires_at": answer.utc(expires), "reason": _why_gone(transaction, name, token, lease)}
            rows.append(row)
        for ttl, of_these in due.items():
            transaction.run("renewed", ttl=ttl, now=now, expires_at=now + timedelta(seconds=ttl), tokens=of_these)
        return rows

    return desk.decide(decision)


def release(desk: Desk, *, lock_name: str, token: int, owner_id: str) -> list[Row]:
    """Give back. The row stays until the next decision that can take the lock's fence removes it."""

    def decision(transaction: Transaction) -> list[Row]:
        transaction.load([lock_name])
        for lease in transaction.leases:
            if (lease["token"], lease["owner_id"]) == (token, owner_id) and transaction.living(lease):
                transaction.end(lease, "released", "released")
                return [{"release": True}]
        return [{"release": False}]

    return desk.decide(decision)


def revoke(
    desk: Desk, *, lock_name: str, actor: str, reason: str, token: int | None = None, terminate: bool = False
) -> list[Row]:
    """Take away from everybody who holds it, or from one token; recorded with person and reason."""
    check_person("revoke", actor, reason)

    def decision(transaction: Transaction) -> list[Row]:
        transaction.load([lock_name])
        meant = [row for row in transaction.leases if token in (None, row["token"])]
        # A reservation goes with its place in line, on all locks of its ticket: else it would be made anew at once.
        tickets = [row["ticket"] for row in meant if row["state"] == "reserved" and transaction.living(row)]
        if tickets:
            places = transaction.run("names_of_tickets", tickets=tickets)
            transaction.load({lock_name, *(row["lock_name"] for row in places)})
        rows = []
        for lease in transaction.leases:
            sibling = lease["state"] == "reserved" and lease["ticket"] in tickets
            if not sibling and (lease["lock_name"] != lock_name or token not in (None, lease["token"])):
                continue
            transaction.end_hold(lease)
            if transaction.living(lease):
                transaction.end(lease, "revoked", "revoked", actor=actor, reason=reason)
                rows.append(answer.granted(transaction, lease))
        for ticket in tickets:
            transaction.run("remove_waiter", ticket=ticket)
        return rows

    rows = desk.decide(decision)
    if terminate:
        _terminate(desk, lock_name)
    return rows


def check_person(verb: str, actor: str, reason: str) -> None:
    """Raises ConfigurationError unless it is said who does this, and why."""
    if not (actor or "").strip() or not (reason or "").strip():
        raise ConfigurationError(f"{verb} needs who and why; give actor and reason")


def _terminate(desk: Desk, lock_name: str) -> None:
    # After the commit, outside of any transaction: the catalogue's tables are not to be held under the mutex.
    for table in desk.session.run("fence_id", schema_name=desk.session.sql.schema, table_name=fence_table(lock_name)):
        for row in desk.session.run("fence_pids", relation=int(table["oid"])):
            try:
                desk.session.run("terminate", pid=row["pid"])
            except StoreError as error:
                raise ConfigurationError(
                    f"lock {lock_name!r} was revoked, but its guarded session {row['pid']} did not end ({error}): "
                    "revoke without terminate, or let a superuser end it"
                ) from error


def _why_gone(transaction: Transaction, lock_name: str, token: int, lease: Row | None) -> str:
    endings = transaction.run("endings", lock_name=lock_name, token=token)
    if lease is not None and lease["state"] in ("held", "reserved", "expired"):
        why = f"it expired at {answer.utc(lease['expires_at'])}"
    elif endings:
        (ending,) = endings
        by = f" by {ending['actor']}" if ending["actor"] else ""
        why = f"it was {ending['event']}{by}" + (f": {ending['reason']}" if ending["reason"] else "")
    else:
        why = "no such lease"
    newer = [row for row in transaction.leases if row["lock_name"] == lock_name and row["token"] > token]
    return why + (f"; now held by {newer[-1]['owner']} (token {newer[-1]['token']})" if newer else "")
