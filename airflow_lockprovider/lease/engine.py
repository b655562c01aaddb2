"""The lease engine: every verb on locks, over one store."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

from airflow_lockprovider.lease import clock, driver
from airflow_lockprovider.lease.duration import Duration, seconds
from airflow_lockprovider.lease.errors import ConfigurationError, LeaseLost, LeaseWaitTimeout, StoreError
from airflow_lockprovider.lease.interrupt import Interrupter
from airflow_lockprovider.lease.keeper import Keeper
from airflow_lockprovider.lease.lock import Lock
from airflow_lockprovider.lease.model import Busy, Lease, LeaseEvent, Renewal, Ticket, TicketView, Waiter
from airflow_lockprovider.lease.once import OnceVerbs
from airflow_lockprovider.lease.settings import LeaseSettings
from airflow_lockprovider.lease.store import Store

log = logging.getLogger(__name__)

Row = dict[str, Any]

_WAIT = float(60)
"""Default wait_timeout in seconds. An object of its own: a caller's 60 is asked for, this one yields to the Lock's."""


class LeaseEngine(OnceVerbs):
    """Grants, keeps and gives back leases.

    Every verb is synchronous, one call to the database, in autocommit. A lock is named by text or by a `Lock`, whose
    fields are the defaults of the keyword arguments. Durations are seconds or timedelta.

    Every verb raises StoreUnavailable when the database does not serve, SchemaOutdated when the tables are missing,
    and ConfigurationError for input that cannot work; none of them ever means "go ahead".
    """

    def __init__(
        self,
        store: Store,
        settings: LeaseSettings | None = None,
        *,
        clock: Callable[[], float] = clock.boottime,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.store = store
        self.settings = settings or LeaseSettings()
        self.clock = clock
        self._sleep = sleep

    # Schema

    def init_schema(self) -> bool:
        """Create or upgrade tables, functions, views and roles. False: all was in place."""
        return self.store.install()

    # Taking

    def try_acquire(
        self,
        lock: str | Lock,
        owner_id: str | None = None,
        ttl: Duration | None = None,
        units: int | None = None,
        capacity: int | None = None,
        shared: bool | None = None,
        priority: int | None = None,
        owner: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Lease | Busy:
        """Get the lock now, or learn who has it.

        Never queues, and is Busy on a free lock when somebody living is in line. ``owner_id`` must be unique per
        attempt (default: a new UUID); asking again with the same one gives the same grant, not a longer one.
        """
        wanted = _wanted(lock, units=units, capacity=capacity, shared=shared, priority=priority)
        owner_id = owner_id or str(uuid.uuid4())
        sent = self.clock()
        rows = self._call_declared(
            wanted,
            "try_acquire",
            owner_id=owner_id,
            owner=owner or _this_process(),
            ttl=self._ttl(wanted, ttl),
            units=wanted.units,
            capacity=wanted.capacity,
            shared=wanted.shared,
            context=_json(context),
            skip_after=self.settings.skip_after,
        )
        return self._decision(rows, sent, wanted.name)

    def acquire(
        self,
        lock: str | Lock,
        wait_timeout: Duration | None = _WAIT,
        owner_id: str | None = None,
        ttl: Duration | None = None,
        units: int | None = None,
        capacity: int | None = None,
        shared: bool | None = None,
        priority: int | None = None,
        owner: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Lease:
        """Get the lock, waiting in line for at most ``wait_timeout`` (None: no limit; default: the Lock's, else 60 s).

        Raises LeaseWaitTimeout; the place in line is then given up.
        """
        wanted = _wanted(lock, units=units, capacity=capacity, shared=shared, priority=priority)
        owner_id = owner_id or str(uuid.uuid4())
        if wait_timeout is _WAIT and wanted.wait_timeout is not None:
            wait_timeout = float(wanted.wait_timeout)  # type: ignore[arg-type]  # __post_init__ made it seconds
        limit = None if wait_timeout is None else self.clock() + _wait_seconds(wait_timeout)
        answer: Lease | Busy | None = self.try_acquire(wanted, owner_id, ttl=ttl, owner=owner, context=context)
        if answer:
            return answer
        if limit is not None and self.clock() >= limit:
            raise LeaseWaitTimeout(f"{answer}; wait_timeout was {wait_timeout}", lock_name=wanted.name)
        ticket = self.enqueue(wanted, owner_id=owner_id, owner=owner, context=context)
        try:
            while True:
                answer = self.confirm(ticket.number, owner_id, ttl=self._ttl(wanted, ttl), context=context)
                if answer:
                    return answer
                left = self.settings.poll_interval if limit is None else limit - self.clock()
                if answer is None or left <= 0:
                    reason = "its place in line was taken away" if answer is None else str(answer)
                    raise LeaseWaitTimeout(
                        f"lock {wanted.name!r} was not free within wait_timeout={wait_timeout}: {reason}",
                        lock_name=wanted.name,
                    )
                self._sleep(min(self.settings.poll_interval, left))
        except BaseException:
            self._leave(ticket)
            raise

    def enqueue(
        self,
        lock: str | Lock,
        *,
        owner_id: str,
        owner: str | None = None,
        units: int | None = None,
        capacity: int | None = None,
        shared: bool | None = None,
        priority: int | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Ticket:
        """Take a place in line. The same ``owner_id`` asking again gets the same ticket."""
        wanted = _wanted(lock, units=units, capacity=capacity, shared=shared, priority=priority)
        (row,) = self._call_declared(
            wanted,
            "enqueue",
            owner_id=owner_id,
            owner=owner or _this_process(),
            units=wanted.units,
            capacity=wanted.capacity,
            shared=wanted.shared,
            priority=wanted.priority,
            context=_json(context),
        )
        return Ticket(row["ticket"], wanted.name, owner_id, row["created_at"], row["waited"])

    def poll(self, session_id: str, tickets: Sequence[int]) -> list[TicketView]:
        """One plain look for all the waiters of a process.

        Keeps their places alive, and says for which of them a try is worth it.
        """
        rows = self.store.call(
            "poll", session_id=session_id, tickets=list(tickets), skip_after=self.settings.skip_after
        )
        return [TicketView(row["ticket"], row["verdict"], row["position"]) for row in rows]

    def reserve(
        self, ticket: int, *, session_id: str | None = None, handover_ttl: Duration | None = None
    ) -> Lease | Busy | None:
        """Get the lock for a waiter, as a reservation that its worker has to `confirm` within ``handover_ttl``.

        None: the ticket was confirmed or withdrawn meanwhile; nothing was granted.
        """
        sent = self.clock()
        rows = self.store.call(
            "reserve",
            ticket=ticket,
            session_id=session_id,
            handover_ttl=self.settings.handover_ttl
            if handover_ttl is None
            else seconds(handover_ttl, setting="handover_ttl"),
            skip_after=self.settings.skip_after,
        )
        return None if rows[0]["outcome"] == "gone" else self._decision(rows, sent)

    def confirm(
        self,
        ticket: int,
        owner_id: str,
        *,
        ttl: Duration | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Lease | Busy | None:
        """The worker's "I am here": turn the reservation into a held lease.

        If the reservation has lapsed this is another try with the same place in line, so the answer may be Busy; the
        place stays. None: the ticket was withdrawn, or belongs to another attempt.
        """
        sent = self.clock()
        rows = self.store.call(
            "confirm",
            ticket=ticket,
            owner_id=owner_id,
            ttl=self.settings.ttl if ttl is None else seconds(ttl, setting="ttl"),
            context=None if context is None else _json(context),
            skip_after=self.settings.skip_after,
        )
        return None if rows[0]["outcome"] == "gone" else self._decision(rows, sent)

    def withdraw(self, ticket: int, owner_id: str) -> bool:
        """Leave the line, giving a reservation back. False: there was neither."""
        return bool(self._one("withdraw", ticket=ticket, owner_id=owner_id))

    # Keeping and giving back

    def renew(self, lease: Lease, ttl: Duration | None = None) -> Lease:
        """Prolong the lease: returns a new value. Raises LeaseLost when it is no longer ours."""
        wanted = lease if ttl is None else replace(lease, ttl=seconds(ttl, setting="ttl"))
        for _ in range(10):
            (answer,) = self.renew_many([wanted])
            if answer.outcome == "renewed":
                return answer.lease
            if answer.outcome == "lost":
                raise LeaseLost(f"{lease} was lost: {answer.reason}", lock_name=lease.lock_name)
            self._sleep(0.1)  # its row is locked by a decision that is being made
        return wanted  # still ours by the database's word, only not longer

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

    def release(self, lease: Lease) -> bool:
        """Give the lease back. Never waits for a guarded transaction. False: it was already gone."""
        return bool(self._one("release", lock_name=lease.lock_name, token=lease.token, owner_id=lease.owner_id))

    @contextmanager
    def hold(
        self,
        lock: str | Lock,
        wait_timeout: Duration | None = _WAIT,
        ttl: Duration | None = None,
        **request: Any,
    ) -> Iterator[Lease]:
        """Acquire, keep while the body runs, release.

        If the lease is lost, LeaseLost is raised inside the body, or at its end at the latest.
        """
        with Interrupter() as interrupter:
            lease = self.acquire(lock, wait_timeout, ttl=ttl, **request)
            try:
                with Keeper(self, lease, interrupter.interrupt) as keeper:
                    yield lease
                if keeper.loss:
                    raise keeper.loss
            finally:
                self._give_back(lease)

    @contextmanager
    def fenced(self, lease: Lease) -> Iterator[Any]:
        """A cursor in a guarded transaction, on a connection of its own: commits only if the lease is still ours.

        While it is open the lock is granted to nobody else, whatever happens to the lease. Raises LeaseLost, also at
        the end: then nothing was written.
        """
        with self.store.transaction() as connection:
            self.store.fence(connection, [lease.lock_name])
            self._check(connection, "guard", lease)
            with driver.plain_cursor(connection) as cursor:
                yield cursor
            self._check(connection, "still_held", lease)

    # People's verbs

    def revoke(
        self, name: str, by: str, reason: str, *, token: int | None = None, terminate: bool = False
    ) -> list[Lease]:
        """Take the lock away from all its owners (or from one token), recorded with person and reason.

        ``terminate`` also ends the database sessions whose guarded transaction is still open.
        """
        sent = self.clock()
        rows = self.store.call("revoke", lock_name=name, actor=by, reason=reason, token=token, terminate=terminate)
        return [self._lease(row, sent) for row in rows]

    def pause(self, name: str, by: str, reason: str) -> bool:
        """Grant nothing on this lock until `resume`; who holds it goes on. False: no such lock."""
        return bool(self._one("pause", lock_name=name, actor=by, reason=reason))

    def resume(self, name: str, by: str) -> bool:
        """End a pause. False: it was not paused."""
        return bool(self._one("resume", lock_name=name, actor=by))

    def set_capacity(self, name: str, capacity: int) -> None:
        """Change how many units a lock has. Leases that are out stay."""
        self._one("set_capacity", lock_name=name, capacity=capacity)

    def clean_up(self) -> int:
        """Remove what has expired and forget waiters that nobody looks after. Returns how many."""
        return int(self._one("clean_up", prune_after=self.settings.prune_after))

    # Looking

    def leases(self, name: str | None = None, *, owner_id: str | None = None) -> list[Lease]:
        """The living leases and reservations, of one lock or of one owner."""
        sent = self.clock()
        return [self._lease(row, sent) for row in self.store.call("leases", lock_name=name, owner_id=owner_id)]

    def queue(self, name: str | None = None, *, owner_id: str | None = None) -> list[Waiter]:
        """Who waits, in order."""
        rows = self.store.call("queue", lock_name=name, owner_id=owner_id, skip_after=self.settings.skip_after)
        return [Waiter(**row) for row in rows]

    def last_event(self, name: str, owner_id: str) -> str | None:
        """What happened last to this owner on this lock: "released", "expired" …; None if it was never heard of."""
        rows = self.store.call("last_event", lock_name=name, owner_id=owner_id)
        return rows[0]["event"] if rows else None

    def history(self, name: str | None = None, limit: int = 100) -> list[LeaseEvent]:
        """What happened, newest first."""
        return [LeaseEvent(**row) for row in self.store.call("history", lock_name=name, limit=limit)]

    def close(self) -> None:
        """Close the calling thread's connection; the next verb opens a new one."""
        self.store.close()

    # Inside

    def _ttl(self, lock: Lock, ttl: Duration | None) -> float:
        chosen = lock.ttl if ttl is None else ttl
        result = self.settings.ttl if chosen is None else seconds(chosen, setting=f"ttl of lock {lock.name!r}")
        self.settings.renewal_period(result)
        return result

    def _decision(self, rows: list[Row], sent: float, lock_name: str | None = None) -> Lease | Busy:
        first = rows[0]
        if first["outcome"] == "granted":
            return self._lease(first, sent)
        return Busy(
            lock_name or first["lock_name"],
            tuple(self._lease(row, sent) for row in rows if row["token"] is not None),
            position=first["position"],
            paused=any(row["paused"] for row in rows),
        )

    def _lease(self, row: Row, sent: float) -> Lease:
        context = row["context"]
        return Lease(
            lock_name=row["lock_name"],
            owner_id=row["owner_id"],
            owner=row["owner"],
            token=row["token"],
            units=row["units"],
            shared=row["shared"],
            state=row["state"],
            ttl=row["ttl"],
            remaining=row["remaining"],
            created_at=row["created_at"],
            expires_at=row["expires_at"],
            context=json.loads(context) if isinstance(context, str) else context or {},
            ticket=row["ticket"],
            waited=row["waited"] or 0.0,
            trusted_until=sent + row["remaining"],
            guard=self.store.guard_text(row["lock_name"], row["token"]),
        )

    def _check(self, connection: driver.Connection, call: Literal["guard", "still_held"], lease: Lease) -> None:
        try:
            self.store.check(connection, call, lease.lock_name, lease.token)
        except LeaseLost as error:
            error.lock_name = lease.lock_name
            raise

    def _leave(self, ticket: Ticket) -> None:
        """After an error while waiting: out of the line, and give back what was granted while the error came up."""
        try:
            self.withdraw(ticket.number, ticket.owner_id)
            for lease in self.leases(ticket.lock_name, owner_id=ticket.owner_id):
                self.release(lease)
        except StoreError as error:
            # The first error is the one to tell. Unseen, the place is passed over after skip_after.
            log.warning("could not leave the line of lock %r: %s", ticket.lock_name, error)

    def _give_back(self, lease: Lease) -> None:
        """Release at the end of a body, whose own outcome counts: the work was done under the lease, or has failed."""
        try:
            self.release(lease)
        except StoreError as error:
            log.warning("%s could not be released, it ends by itself within %g s: %s", lease, lease.ttl, error)

    def _one(self, call: str, **params: Any) -> Any:
        (row,) = self.store.call(call, **params)
        (value,) = row.values()
        return value

    def _call_declared(self, lock: Lock, call: str, **params: Any) -> list[Row]:
        try:
            return self.store.call(call, lock_names=[lock.name], **params)
        except driver.LockMissing:
            # In a call, so a transaction, of its own: two first users must not wait for each other's decisions.
            self.store.call("declare", lock_names=[lock.name], capacity=lock.capacity)
            return self.store.call(call, lock_names=[lock.name], **params)


def _wanted(lock: str | Lock, **given: Any) -> Lock:
    if not isinstance(lock, str | Lock):
        raise ConfigurationError(f"lock {lock!r} must be a name or a Lock; several at once are not possible yet")
    wanted = Lock(lock) if isinstance(lock, str) else lock
    changes = {name: value for name, value in given.items() if value is not None}
    return replace(wanted, **changes) if changes else wanted


def _wait_seconds(value: Duration) -> float:
    return 0.0 if not value else seconds(value, setting="wait_timeout")


def _this_process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _json(context: Mapping[str, Any] | None) -> str:
    try:
        return json.dumps(dict(context or {}), default=str, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"context={context!r} cannot be kept as JSON: {error}") from error
