"""The verbs of people and of house-keeping, and the poll."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from airflow_lockprovider.lease.redshift.desk import Desk
from airflow_lockprovider.lease.redshift.keeping import check_person
from airflow_lockprovider.lease.redshift.line import ahead, fits, seen_at
from airflow_lockprovider.lease.redshift.request import Wanted, check
from airflow_lockprovider.lease.redshift.session import Row
from airflow_lockprovider.lease.redshift.transaction import Transaction


def set_capacity(desk: Desk, *, lock_name: str, capacity: int) -> list[Row]:
    """Change how many units a lock has."""
    check([Wanted(lock_name, units=capacity)], "set_capacity", 1)

    def decision(transaction: Transaction) -> list[Row]:
        transaction.load([lock_name])
        if lock_name in transaction.locks:
            transaction.run("capacity", lock_name=lock_name, capacity=capacity)
        else:
            transaction.declare(lock_name, capacity)
        return [{"set_capacity": None}]

    return desk.decide(decision)


def pause(desk: Desk, *, lock_name: str, actor: str, reason: str) -> list[Row]:
    """Grant nothing until resume."""
    check_person("pause", actor, reason)

    def decision(transaction: Transaction) -> list[Row]:
        transaction.load([lock_name])
        there = lock_name in transaction.locks
        if there:
            transaction.run("paused", lock_name=lock_name, paused=True, note=f"paused by {actor}: {reason}")
            transaction.log("paused", {"lock_name": lock_name}, actor=actor, reason=reason)
        return [{"pause": there}]

    return desk.decide(decision)


def resume(desk: Desk, *, lock_name: str, actor: str, reason: str | None = None) -> list[Row]:
    """End a pause."""

    def decision(transaction: Transaction) -> list[Row]:
        transaction.load([lock_name])
        paused = any(lock["paused"] for lock in transaction.locks.values())
        if paused:
            transaction.run("paused", lock_name=lock_name, paused=False, note=None)
            transaction.log("resumed", {"lock_name": lock_name}, actor=actor, reason=reason)
        return [{"resume": paused}]

    return desk.decide(decision)


def clean_up(desk: Desk, *, prune_after: float = 86_400.0) -> list[Row]:
    """Remove what is over, forget waiters that nobody looks after. One transaction per lock: each may need a fence."""
    total = 0
    for row in desk.session.run("names_of_leases"):
        total += desk.decide(lambda transaction, name=row["lock_name"]: _sweep(transaction, name))  # type: ignore[misc]
    names = [row["lock_name"] for row in desk.session.run("names_of_waiters")]
    total += desk.decide(lambda transaction: _prune(transaction, names, prune_after))
    return [{"clean_up": total}]


def poll(desk: Desk, *, session_id: str, tickets: Sequence[int], skip_after: float = 10.0) -> list[Row]:
    """One plain look for all the waiters of one process; writes only when its sign of life has grown old."""
    wanted = list(tickets)

    def look(transaction: Transaction) -> list[Row]:
        places = transaction.run("names_of_tickets", tickets=wanted)
        new = sorted({row["ticket"] for row in places if row["worker_session"] != session_id})
        seen = transaction.run("session", session_id=session_id)
        if new or not seen or seen[0]["seen_at"] <= transaction.now - timedelta(seconds=skip_after / 4):
            # A commit is costly, so not at every poll. It is still fresh for three more quarters of skip_after.
            desk.decide(lambda writing: _seen(writing, session_id, new))
        transaction.load({row["lock_name"] for row in places})
        return [_view(transaction, ticket, skip_after) for ticket in wanted]

    return desk.look(look)


def _sweep(transaction: Transaction, lock_name: str) -> int:
    transaction.load([lock_name])
    before = len(transaction.leases)
    transaction.sweep([lock_name])
    return before - len(transaction.leases)


def _prune(transaction: Transaction, lock_names: Sequence[str], prune_after: float) -> int:
    before = transaction.now - timedelta(seconds=prune_after)
    transaction.load(lock_names)
    dead = [row for row in transaction.waiters if seen_at(row) <= before]
    for row in dead:
        transaction.log("pruned", row, token=None, waited=(transaction.now - row["created_at"]).total_seconds())
    for ticket in {row["ticket"] for row in dead}:
        transaction.run("remove_waiter", ticket=ticket)
    transaction.run("forget_sessions", before=before)
    return len(dead)


def unwatch(desk: Desk, *, session_id: str, tickets: Sequence[int]) -> list[Row]:
    # If another process has taken them meanwhile, its next poll does so again.
    desk.decide(lambda writing: writing.run("waiter_taken", tickets=list(tickets), session_id=None, now=writing.now))
    return []


def _seen(transaction: Transaction, session_id: str, new: Sequence[int]) -> None:
    known = transaction.run("session", session_id=session_id)
    transaction.run("session_seen" if known else "new_session", session_id=session_id, now=transaction.now)
    if new:
        transaction.run("waiter_taken", tickets=list(new), session_id=session_id, now=transaction.now)


def _view(transaction: Transaction, ticket: int, skip_after: float) -> Row:
    mine = [row for row in transaction.waiters if row["ticket"] == ticket]
    if not mine:
        return {"ticket": ticket, "verdict": "gone", "position": 0}
    before = [ahead(transaction, row["lock_name"], ticket, row["shared"], skip_after) for row in mine]
    locks = [transaction.locks[row["lock_name"]] for row in mine]
    # A request that can never be granted (the lock has shrunk) is worth a try as well: the try says so.
    never = any(row["units"] > lock["capacity"] for row, lock in zip(mine, locks, strict=True))
    free = not any(before) and not any(lock["paused"] for lock in locks)
    free = free and all(
        fits(transaction, row["lock_name"], row["units"], row["shared"], living_only=True) for row in mine
    )
    return {"ticket": ticket, "verdict": "try" if free or never else "wait", "position": max(before)}
