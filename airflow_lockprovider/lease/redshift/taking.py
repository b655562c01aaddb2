"""The verbs that take: at once, or by way of the line."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.lease.redshift import answer
from airflow_lockprovider.lease.redshift.desk import Desk
from airflow_lockprovider.lease.redshift.grant import admit, check_locks, hold_until
from airflow_lockprovider.lease.redshift.request import Wanted, check, wanted
from airflow_lockprovider.lease.redshift.session import Row
from airflow_lockprovider.lease.redshift.transaction import Transaction


def declare(desk: Desk, *, lock_names: Sequence[str], capacity: Any = None) -> list[Row]:
    """Make rows and fences for locks that have none."""
    wants = wanted(lock_names, capacity=capacity)
    check(wants, "declare", 1)

    def decision(transaction: Transaction) -> list[Row]:
        transaction.load(lock_names)
        for one in wants:
            if one.lock_name not in transaction.locks:
                transaction.declare(one.lock_name, one.capacity or 1)
        return [{"declare": None}]

    return desk.decide(decision)


def try_acquire(
    desk: Desk,
    *,
    lock_names: Sequence[str],
    owner_id: str,
    ttl: float,
    owner: str | None = None,
    units: Any = None,
    capacity: Any = None,
    shared: Any = None,
    context: str | None = None,
    skip_after: float = 10.0,
    hold_at_least: float | None = None,
) -> list[Row]:
    """Get the locks now, or learn who has them."""
    wants = wanted(lock_names, units, shared, capacity)
    check(wants, owner_id, ttl, hold_at_least)

    def decision(transaction: Transaction) -> list[Row]:
        transaction.load(lock_names)
        check_locks(transaction, wants)
        transaction.sweep(lock_names)
        mine = [
            row
            for row in transaction.leases
            if row["owner_id"] == owner_id and row["state"] == "held" and transaction.living(row)
        ]
        if [row["lock_name"] for row in mine] == [one.lock_name for one in wants]:
            return [answer.granted(transaction, row) for row in mine]
        # Who already stands in line keeps that place, and does not overtake.
        if (ticket := _ticket_of(transaction, owner_id, lock_names)) is not None:
            return _confirm(transaction, ticket, owner_id, ttl, context, skip_after, hold_at_least)
        return admit(
            transaction,
            wants,
            owner_id=owner_id,
            owner=owner or owner_id,
            context=context or "{}",
            state="held",
            seconds=ttl,
            skip_after=skip_after,
            hold_at_least=hold_at_least,
        )

    return desk.decide(decision)


def enqueue(
    desk: Desk,
    *,
    lock_names: Sequence[str],
    owner_id: str,
    owner: str | None = None,
    units: Any = None,
    capacity: Any = None,
    shared: Any = None,
    priority: int = 0,
    context: str | None = None,
) -> list[Row]:
    """Take a place in line: one ticket and one priority, a row per lock."""
    wants = wanted(lock_names, units, shared, capacity)
    check(wants, owner_id, 1)

    def decision(transaction: Transaction) -> list[Row]:
        transaction.load(lock_names)
        check_locks(transaction, wants)
        ticket = _ticket_of(transaction, owner_id, lock_names)
        if ticket is not None:
            transaction.run("waiter_seen", tickets=[ticket], now=transaction.now)
            created = min(row["created_at"] for row in transaction.waiters if row["ticket"] == ticket)
        else:
            ticket, created = transaction.next_ticket(), transaction.now
            for one in wants:
                transaction.run(
                    "new_waiter",
                    ticket=ticket,
                    lock_name=one.lock_name,
                    owner_id=owner_id,
                    owner=owner or owner_id,
                    units=one.units,
                    shared=one.shared,
                    priority=priority,
                    context=context or "{}",
                    now=transaction.now,
                )
        waited = (transaction.now - created).total_seconds()
        return [{"ticket": ticket, "created_at": answer.utc(created), "waited": waited}]

    return desk.decide(decision)


def reserve(
    desk: Desk,
    *,
    ticket: int,
    session_id: str | None = None,
    handover_ttl: float = 60.0,
    skip_after: float = 10.0,
) -> list[Row]:
    """For a waiter: grant, but only as a reservation that its worker has to confirm."""

    def decision(transaction: Transaction) -> list[Row]:
        wants, request = _request(transaction, ticket)
        if request is None:
            return answer.gone(ticket)
        check(wants, request["owner_id"], handover_ttl)
        check_locks(transaction, wants)
        transaction.sweep(transaction.locks)
        if mine := _whole_reservation(transaction, ticket, len(wants)):
            return [answer.granted(transaction, row) for row in mine]
        rows = admit(
            transaction,
            wants,
            owner_id=request["owner_id"],
            owner=request["owner"],
            context=request["context"],
            state="reserved",
            seconds=handover_ttl,
            skip_after=skip_after,
            ticket=ticket,
            requested_at=request["created_at"],
            session_id=session_id,
        )
        if rows[0]["outcome"] == "granted":
            # From now on nobody looks after the ticket: if the reservation lapses, others pass after skip_after.
            transaction.run("waiter_taken", tickets=[ticket], session_id=None, now=transaction.now)
        return rows

    return desk.decide(decision)


def confirm(
    desk: Desk,
    *,
    ticket: int,
    owner_id: str,
    ttl: float = 120.0,
    context: str | None = None,
    skip_after: float = 10.0,
    hold_at_least: float | None = None,
) -> list[Row]:
    """The worker's "I am here": turn the reservation into a lease, or try again with the same place."""
    return desk.decide(
        lambda transaction: _confirm(transaction, ticket, owner_id, ttl, context, skip_after, hold_at_least)
    )


def withdraw(desk: Desk, *, ticket: int, owner_id: str) -> list[Row]:
    """Leave the line; give a reservation back."""

    def decision(transaction: Transaction) -> list[Row]:
        rows = transaction.run("leases_of_ticket", ticket=ticket)
        _, request = _request(transaction, ticket, {row["lock_name"] for row in rows})
        gone = request is not None and request["owner_id"] == owner_id
        if gone:
            for row in [one for one in transaction.waiters if one["ticket"] == ticket]:
                waited = (transaction.now - row["created_at"]).total_seconds()
                transaction.log("withdrawn", row, token=None, waited=waited)
            transaction.run("remove_waiter", ticket=ticket)
        for lease in _reserved(transaction, ticket):
            if lease["owner_id"] == owner_id:
                transaction.end(lease, "released", "released")
                gone = True
        return [{"withdraw": gone}]

    return desk.decide(decision)


def _confirm(
    transaction: Transaction,
    ticket: int,
    owner_id: str,
    ttl: float,
    context: str | None,
    skip_after: float,
    hold_at_least: float | None,
) -> list[Row]:
    rows = transaction.run("leases_of_ticket", ticket=ticket)
    wants, request = _request(transaction, ticket, {row["lock_name"] for row in rows})
    if request is None or request["owner_id"] != owner_id:
        # The answer to an earlier confirm was lost: it holds.
        mine = [
            row
            for row in transaction.leases
            if row["ticket"] == ticket and row["owner_id"] == owner_id and row["state"] == "held"
            and transaction.living(row)
        ]  # fmt: skip
        return [answer.granted(transaction, row) for row in mine] or answer.gone(ticket)
    check(wants, owner_id, ttl, hold_at_least)
    check_locks(transaction, wants)
    transaction.sweep(one.lock_name for one in wants)
    now = transaction.now
    if mine := _whole_reservation(transaction, ticket, len(wants)):
        for lease in mine:
            lease.update(
                state="held",
                ttl=float(ttl),
                renewed_at=now,
                start_by=None,
                expires_at=now + timedelta(seconds=ttl),
                hold_until=hold_until(now, hold_at_least),
                context=context or lease["context"],
            )
            names = ("lock_name", "token", "ttl", "renewed_at", "expires_at", "hold_until", "context")
            transaction.run("lease_held", **{name: lease[name] for name in names})
            transaction.log("confirmed", lease)
        answers = [answer.granted(transaction, lease) for lease in mine]
    else:
        answers = admit(
            transaction,
            wants,
            owner_id=owner_id,
            owner=request["owner"],
            context=context or request["context"],
            state="held",
            seconds=ttl,
            skip_after=skip_after,
            ticket=ticket,
            requested_at=request["created_at"],
            hold_at_least=hold_at_least,
        )
    if answers[0]["outcome"] == "granted":
        transaction.run("remove_waiter", ticket=ticket)
    else:
        transaction.run("waiter_seen", tickets=[ticket], now=now)
    return answers


def _ticket_of(transaction: Transaction, owner_id: str, lock_names: Sequence[str]) -> int | None:
    """The ticket of an owner who already waits for these locks. Raises ConfigurationError if it waits for others."""
    places = transaction.run("names_of_owner", owner_id=owner_id)
    waits = {row["ticket"]: {one["lock_name"] for one in places if one["ticket"] == row["ticket"]} for row in places}
    for ticket, names in waits.items():
        if names == set(lock_names):
            return int(ticket)
        if names & set(lock_names):
            raise ConfigurationError(
                f"owner_id={owner_id!r} already waits for {sorted(names)}, not for {sorted(lock_names)}: "
                "withdraw that ticket first, or use another owner_id"
            )
    return None


def _request(transaction: Transaction, ticket: int, also: Any = ()) -> tuple[list[Wanted], Row | None]:
    """The locks that a ticket is for, and one of its rows; loads the rows of these locks."""
    places = transaction.run("names_of_tickets", tickets=[ticket])
    transaction.load({row["lock_name"] for row in places} | set(also))
    rows = sorted(
        (row for row in transaction.waiters if row["ticket"] == ticket), key=lambda row: str(row["lock_name"])
    )
    return [Wanted(row["lock_name"], row["units"], row["shared"]) for row in rows], rows[0] if rows else None


def _whole_reservation(transaction: Transaction, ticket: int, size: int) -> list[Row]:
    """The reservation of a ticket. It holds for all its locks or for none: what is left of one is dropped."""
    living = _reserved(transaction, ticket)
    if len(living) == size:
        return living
    for lease in [row for row in transaction.leases if row["ticket"] == ticket and row["state"] == "reserved"]:
        transaction.end(lease, "expired", "lapsed")
        transaction.remove(lease)
    return []


def _reserved(transaction: Transaction, ticket: int) -> list[Row]:
    return [
        row
        for row in transaction.leases
        if row["ticket"] == ticket and row["state"] == "reserved" and transaction.living(row)
    ]
