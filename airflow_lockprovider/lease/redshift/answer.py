"""The rows that verbs answer: the same shapes as Postgres' functions return."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow_lockprovider.lease.redshift.session import Row
from airflow_lockprovider.lease.redshift.transaction import Transaction

_SAID = ("lock_name", "token", "owner_id", "owner", "units", "shared", "state", "ttl", "context", "ticket", "waited")


def granted(transaction: Transaction, lease: Row) -> Row:
    """A lease as it is now."""
    return {**_facts(transaction.now, lease), "outcome": "granted", "position": 0, "paused": False}


def busy(transaction: Transaction, lock_names: list[str], ticket: int | None, position: int) -> list[Row]:
    """One row per lease that is in the way, or one per lock without leases."""
    rows: list[Row] = []
    for name in lock_names:
        leases = transaction.leases_of(name)
        about = {
            "outcome": "busy",
            "lock_name": name,
            "position": position,
            "paused": transaction.locks[name]["paused"],
        }
        if not leases:
            rows.append({"token": None, **about})
        rows += [{**_facts(transaction.now, lease), "ticket": ticket, **about} for lease in leases]
    return rows


def gone(ticket: int) -> list[Row]:
    """The ticket is no more."""
    return [{"outcome": "gone", "ticket": ticket, "token": None, "lock_name": None, "position": 0, "paused": False}]


def utc(moment: datetime | None) -> datetime | None:
    """The database's time as callers get it."""
    return None if moment is None else moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _facts(now: datetime, lease: Row) -> Row:
    names = (
        "lock_name",
        "token",
        "owner_id",
        "owner",
        "units",
        "shared",
        "state",
        "ttl",
        "context",
        "ticket",
        "waited",
    )
    return {
        **{name: lease[name] for name in names},
        "remaining": (lease["expires_at"] - now).total_seconds(),
        "created_at": utc(lease["created_at"]),
        "expires_at": utc(lease["expires_at"]),
    }
