"""Deciding one request for one or several locks: all or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.lease.redshift import answer
from airflow_lockprovider.lease.redshift.line import ahead, fits
from airflow_lockprovider.lease.redshift.request import Wanted
from airflow_lockprovider.lease.redshift.session import Row
from airflow_lockprovider.lease.redshift.transaction import Transaction, missing


def check_locks(transaction: Transaction, wants: Sequence[Wanted]) -> None:
    """The locks must be there, have the declared capacity, and units enough."""
    if absent := {one.lock_name for one in wants} - set(transaction.locks):
        raise missing(absent)
    for one in wants:
        there = transaction.locks[one.lock_name]["capacity"]
        if one.capacity is not None and one.capacity != there:
            raise ConfigurationError(
                f'lock "{one.lock_name}" has capacity {there}, but capacity {one.capacity} was declared; '
                "declare the same everywhere, or change it with set_capacity()"
            )
        if one.units > there:
            raise ConfigurationError(
                f'lock "{one.lock_name}" has capacity {there}, so {one.units} units can never be granted; '
                "ask for fewer units, or raise the capacity with set_capacity()"
            )


def admit(
    transaction: Transaction,
    wants: Sequence[Wanted],
    *,
    owner_id: str,
    owner: str,
    context: str,
    state: str,
    seconds: float,
    skip_after: float,
    ticket: int | None = None,
    requested_at: datetime | None = None,
    session_id: str | None = None,
    hold_at_least: float | None = None,
) -> list[Row]:
    """Grant all of them, or say who is in the way. The locks' rows are loaded and swept."""
    names = [one.lock_name for one in wants]
    position = max(ahead(transaction, one.lock_name, ticket, one.shared, skip_after) for one in wants)
    if (
        position
        or any(transaction.locks[name]["paused"] for name in names)
        or not all(fits(transaction, one.lock_name, one.units, one.shared) for one in wants)
    ):
        return answer.busy(transaction, names, ticket, position)
    return grant(
        transaction,
        wants,
        owner_id=owner_id,
        owner=owner,
        context=context,
        state=state,
        seconds=seconds,
        ticket=ticket,
        requested_at=requested_at,
        session_id=session_id,
        hold_at_least=hold_at_least,
    )


def grant(
    transaction: Transaction,
    wants: Sequence[Wanted],
    *,
    owner_id: str,
    owner: str,
    context: str,
    state: str,
    seconds: float,
    ticket: int | None = None,
    requested_at: datetime | None = None,
    session_id: str | None = None,
    hold_at_least: float | None = None,
) -> list[Row]:
    """Grant without asking: the caller has decided."""
    now = transaction.now
    rows = []
    for one in wants:
        lease: dict[str, Any] = {
            "lock_name": one.lock_name,
            "token": transaction.next_token(one.lock_name),
            "owner_id": owner_id,
            "owner": owner,
            "units": one.units,
            "shared": one.shared,
            "state": state,
            "ticket": ticket,
            "worker_session": session_id,
            "ttl": float(seconds),
            "waited": (now - (requested_at or now)).total_seconds(),
            "created_at": now,
            "renewed_at": now,
            "expires_at": now + timedelta(seconds=seconds),
            "start_by": now + timedelta(seconds=seconds) if state == "reserved" else None,
            "hold_until": hold_until(now, hold_at_least),
            "context": context,
        }
        transaction.insert(lease)
        transaction.log("reserved" if state == "reserved" else "granted", lease)
        rows.append(answer.granted(transaction, lease))
    return rows


def hold_until(now: datetime, hold_at_least: float | None) -> datetime | None:
    """Until when the lock stays taken even if the lease is given back before."""
    return now + timedelta(seconds=hold_at_least) if hold_at_least else None
