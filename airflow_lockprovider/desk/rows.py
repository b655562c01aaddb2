"""What the commands show of leases, waiters and events."""

from __future__ import annotations

from typing import Any

from airflow_lockprovider.lease.model import Lease, LeaseEvent, Waiter

LEASE_COLUMNS = ("lock", "owner", "token", "state", "held_for", "expires_in", "waiters")
WAITER_COLUMNS = ("lock", "position", "owner", "ticket", "waiting_for", "alive", "blocked_by")
EVENT_COLUMNS = ("at", "lock", "event", "token", "owner", "waited", "held", "by", "reason")


def lease_row(lease: Lease, *, waiters: int) -> dict[str, Any]:
    """A lease, with the length of its lock's queue."""
    alive = (lease.expires_at - lease.created_at).total_seconds()
    return {
        "lock": lease.lock_name,
        "owner": lease.owner,
        "owner_id": lease.owner_id,
        "token": lease.token,
        "state": lease.state,
        "units": lease.units,
        "shared": lease.shared,
        "held_for": alive - lease.remaining,  # until now, by the database's clock
        "expires_in": lease.remaining,
        "created_at": lease.created_at,
        "expires_at": lease.expires_at,
        "waiters": waiters,
        "context": dict(lease.context),
    }


def waiter_row(waiter: Waiter) -> dict[str, Any]:
    """A waiter and its place in line."""
    return {
        "lock": waiter.lock_name,
        "position": waiter.position,
        "owner": waiter.owner,
        "owner_id": waiter.owner_id,
        "ticket": waiter.ticket,
        "units": waiter.units,
        "shared": waiter.shared,
        "priority": waiter.priority,
        "waiting_for": waiter.waited,
        "created_at": waiter.created_at,
        "alive": waiter.alive,
        "blocked_by": "; ".join(map(str, waiter.blocked_by)),
    }


def event_row(event: LeaseEvent) -> dict[str, Any]:
    """One line of history."""
    return {
        "at": event.at,
        "lock": event.lock_name,
        "event": event.event,
        "token": event.token,
        "owner": event.owner,
        "owner_id": event.owner_id,
        "waited": event.waited,
        "held": event.held,
        "by": event.actor,
        "reason": event.reason,
    }
