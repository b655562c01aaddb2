"""The lease engine: every verb on locks, over one store."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import cache
from typing import Any, Literal, TypedDict, Unpack, overload

from airflow_lockprovider.lease import clock, driver
from airflow_lockprovider.lease.blocking import explain
from airflow_lockprovider.lease.duration import Duration, seconds
from airflow_lockprovider.lease.errors import ConfigurationError, LeaseLost, LeaseWaitTimeout, StoreError
from airflow_lockprovider.lease.interrupt import Interrupter
from airflow_lockprovider.lease.keeper import Keeper
from airflow_lockprovider.lease.lease_set import LeaseSet
from airflow_lockprovider.lease.listener import Listener
from airflow_lockprovider.lease.lock import Lock
from airflow_lockprovider.lease.model import Busy, Lease, LeaseEvent, Renewal, Ticket, TicketView, Waiter
from airflow_lockprovider.lease.once import OnceVerbs
from airflow_lockprovider.lease.request import Locks, Request
from airflow_lockprovider.lease.settings import LeaseSettings
from airflow_lockprovider.lease.standby import StandbyVerbs
from airflow_lockprovider.lease.store import Store

log = logging.getLogger(__name__)

Row = dict[str, Any]

_FIRST_LOOK = 0.01
"""Seconds from drawing a ticket to the second look; the pauses double up to poll_interval."""
_WAIT = float(60)
"""Default wait_timeout in seconds. An object of its own: a caller's 60 is asked for, this one yields to the Lock's."""


class Asking(TypedDict, total=False):
    """The keyword arguments of a request. units, capacity, shared and priority override those of the Lock."""

    units: int | None
    capacity: int | None
    shared: bool | None
    priority: int | None
    owner: str | None
    """For people; default: host and process id."""
    context: Mapping[str, Any] | None
    """Kept with the lease, as JSON."""


class LeaseEngine(StandbyVerbs, OnceVerbs):
    """Grants, keeps and gives back leases.

    Every verb is synchronous, one call to the database, in autocommit. A lock is named by text or by a `Lock`, whose
    fields are the defaults of the keyword arguments; a list of these is one request for all of them. Durations are
    seconds or timedelta.

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

    @overload
    def try_acquire(
        self, lock: str | Lock, owner_id: str | None = None, ttl: Duration | None = None, **asking: Unpack[Asking]
    ) -> Lease | Busy: ...
    @overload
    def try_acquire(
        self, lock: Locks, owner_id: str | None = None, ttl: Duration | None = None, **asking: Unpack[Asking]
    ) -> LeaseSet | Busy: ...
    def try_acquire(
        self,
        lock: str | Lock | Locks,
        owner_id: str | None = None,
        ttl: Duration | None = None,
        **asking: Unpack[Asking],
    ) -> Lease | LeaseSet | Busy:
        """Get the lock now, or learn who has it. Several locks: all of them or none.

        Never queues, and is Busy on a free lock when somebody living is in line. ``owner_id`` must be unique per
        attempt (default: a new UUID); asking again with the same one gives the same grant, not a longer one.
        """
        return self._try(_request(lock, asking), owner_id or str(uuid.uuid4()), ttl, asking)

    def _try(self, request: Request, owner_id: str, ttl: Duration | None, asking: Asking) -> Lease | LeaseSet | Busy:
        sent = self.clock()
        rows = self._call_declared(
            request,
            "try_acquire",
            owner_id=owner_id,
            owner=asking.get("owner") or _this_process(),
            ttl=self._ttl(request, ttl),
            context=_json(asking.get("context")),
            skip_after=self.settings.skip_after,
            hold_at_least=request.hold_at_least,
        )
        return self._decision(rows, sent, request.several, request.label)

    @overload
    def acquire(
        self,
        lock: str | Lock,
        wait_timeout: Duration | None = _WAIT,
        owner_id: str | None = None,
        ttl: Duration | None = None,
        **asking: Unpack[Asking],
    ) -> Lease: ...
    @overload
    def acquire(
        self,
        lock: Locks,
        wait_timeout: Duration | None = _WAIT,
        owner_id: str | None = None,
        ttl: Duration | None = None,
        **asking: Unpack[Asking],
    ) -> LeaseSet: ...
    def acquire(
        self,
        lock: str | Lock | Locks,
        wait_timeout: Duration | None = _WAIT,
        owner_id: str | None = None,
        ttl: Duration | None = None,
        **asking: Unpack[Asking],
    ) -> Lease | LeaseSet:
        """Get the lock, waiting in line for at most ``wait_timeout`` (None: no limit; default: the Lock's, else 60 s).

        Several locks have one place, in all their lines. Raises LeaseWaitTimeout; the place in line is then given up.
        """
        request = _request(lock, asking)
        owner_id = owner_id or str(uuid.uuid4())
        if wait_timeout is _WAIT and request.wait_timeout is not None:
            wait_timeout = request.wait_timeout
        limit = None if wait_timeout is None else self.clock() + _wait_seconds(wait_timeout)
        first = self._try(request, owner_id, ttl, asking)
        if first:
            return first
        if limit is not None and limit <= self.clock():
            raise LeaseWaitTimeout(str(first), lock_name=request.label)

        ticket = self._enqueue(request, owner_id, asking)
        drawn = self.clock()
        listener = self.listener()
        try:
            while True:
                listener.start()  # before the look: what changes after it is heard
                rows, sent = self._confirm(
                    ticket.number, owner_id, self._ttl(request, ttl), asking.get("context"), request.hold_at_least
                )
                answer = self._decision(rows, sent, request.several, request.label) if rows else None
                if answer:
                    return answer
                left = self.settings.poll_interval if limit is None else limit - self.clock()
                if answer is None or left <= 0:
                    reason = "its place in line was taken away" if answer is None else str(answer)
                    raise LeaseWaitTimeout(
                        f"{request} {'were' if len(request.locks) > 1 else 'was'} not free within "
                        f"wait_timeout={wait_timeout}: {reason}",
                        lock_name=request.label,
                    )
                pause = min(self.settings.poll_interval, left)
                if listener.enabled:
                    # Looks often at first: who gave back just before our ticket was there has told nobody.
                    listener.wait(min(pause, max(_FIRST_LOOK, self.clock() - drawn)), request.names, ticket.number)
                else:
                    self._sleep(pause)
        except BaseException:
            self._leave(request, ticket)
            raise
        finally:
            listener.close()

    def enqueue(self, lock: str | Lock | Locks, *, owner_id: str, **asking: Unpack[Asking]) -> Ticket:
        """Take a place in line. The same ``owner_id`` asking again gets the same ticket."""
        return self._enqueue(_request(lock, asking), owner_id, asking)

    def _enqueue(self, request: Request, owner_id: str, asking: Asking) -> Ticket:
        (row,) = self._call_declared(
            request,
            "enqueue",
            owner_id=owner_id,
            owner=asking.get("owner") or _this_process(),
            priority=request.priority,
            context=_json(asking.get("context")),
        )
        return Ticket(row["ticket"], request.label, owner_id, row["created_at"], row["waited"])

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
    ) -> Lease | LeaseSet | Busy | None:
        """Get the lock (or all locks of the ticket) for a waiter, as a reservation.

        Its worker has to `confirm` it within ``handover_ttl``.

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
        return None if rows[0]["outcome"] == "gone" else self._decision(rows, sent, several=False)

    @overload
    def confirm(
        self,
        ticket: int,
        owner_id: str,
        *,
        ttl: Duration | None = None,
        context: Mapping[str, Any] | None = None,
        hold_at_least: Duration | None = None,
        several: Literal[False] = False,
    ) -> Lease | Busy | None: ...
    @overload
    def confirm(
        self,
        ticket: int,
        owner_id: str,
        *,
        ttl: Duration | None = None,
        context: Mapping[str, Any] | None = None,
        hold_at_least: Duration | None = None,
        several: Literal[True],
    ) -> LeaseSet | Busy | None: ...
    def confirm(
        self,
        ticket: int,
        owner_id: str,
        *,
        ttl: Duration | None = None,
        context: Mapping[str, Any] | None = None,
        hold_at_least: Duration | None = None,
        several: bool = False,
    ) -> Lease | LeaseSet | Busy | None:
        """The worker's "I am here": turn the reservation into a held lease.

        If the reservation has lapsed this is another try with the same place in line, so the answer may be Busy; the
        place stays. None: the ticket was withdrawn, or belongs to another attempt. ``several``: the ticket was drawn
        for a sequence of locks, the answer is a LeaseSet.
        """
        rows, sent = self._confirm(
            ticket,
            owner_id,
            self.settings.ttl if ttl is None else seconds(ttl, setting="ttl"),
            context,
            _wait_seconds(hold_at_least, "hold_at_least"),
        )
        return self._decision(rows, sent, several) if rows else None

    def _confirm(
        self, ticket: int, owner_id: str, ttl: float, context: Mapping[str, Any] | None, hold_at_least: float
    ) -> tuple[list[Row], float]:
        sent = self.clock()
        rows = self.store.call(
            "confirm",
            ticket=ticket,
            owner_id=owner_id,
            ttl=ttl,
            context=None if context is None else _json(context),
            skip_after=self.settings.skip_after,
            hold_at_least=hold_at_least,
        )
        return ([] if rows[0]["outcome"] == "gone" else rows), sent

    def withdraw(self, ticket: int, owner_id: str) -> bool:
        """Leave the line, giving a reservation back. False: there was neither."""
        return bool(self._one("withdraw", ticket=ticket, owner_id=owner_id))

    # Keeping and giving back

    @overload
    def renew(self, lease: Lease, ttl: Duration | None = None) -> Lease: ...
    @overload
    def renew(self, lease: LeaseSet, ttl: Duration | None = None) -> LeaseSet: ...
    def renew(self, lease: Lease | LeaseSet, ttl: Duration | None = None) -> Lease | LeaseSet:
        """Prolong the lease: returns a new value. Raises LeaseLost when it (or one of the set) is no longer ours."""
        longer = None if ttl is None else seconds(ttl, setting="ttl")
        wanted = {one.lock_name: replace(one, ttl=longer or one.ttl) for one in lease.leases}
        open_names = list(wanted)
        for attempt in range(10):
            if attempt:
                self._sleep(0.1)  # a row is locked by a decision that is being made
            answers = self.renew_many([wanted[name] for name in open_names])
            for answer in answers:
                if answer.outcome == "lost":
                    raise LeaseLost(f"{answer.lease} was lost: {answer.reason}", lock_name=answer.lease.lock_name)
                wanted[answer.lease.lock_name] = answer.lease
            open_names = [answer.lease.lock_name for answer in answers if answer.outcome == "skipped"]
            if not open_names:
                break
        # Whatever is still open is ours by the database's word, only not longer.
        renewed = tuple(wanted.values())
        return LeaseSet(renewed) if isinstance(lease, LeaseSet) else renewed[0]

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

    def release(self, lease: Lease | LeaseSet) -> bool:
        """Give the lease back. Never waits for a guarded transaction. False: it was already gone."""
        # Each by itself: who waits for one of them need not wait for the rest.
        answers = [
            bool(self._one("release", lock_name=one.lock_name, token=one.token, owner_id=one.owner_id))
            for one in lease.leases
        ]
        return all(answers)

    @overload
    def adopt(
        self,
        lock: str | Lock,
        owner_id: str,
        previous_owner_id: str,
        *,
        owner: str | None = None,
        ttl: Duration | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Lease | Busy | None: ...
    @overload
    def adopt(
        self,
        lock: Locks,
        owner_id: str,
        previous_owner_id: str,
        *,
        owner: str | None = None,
        ttl: Duration | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> LeaseSet | Busy | None: ...
    def adopt(
        self,
        lock: str | Lock | Locks,
        owner_id: str,
        previous_owner_id: str,
        *,
        owner: str | None = None,
        ttl: Duration | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> Lease | LeaseSet | Busy | None:
        """Take over the lease of an earlier attempt that is dead, at once and with a new token: a retry need not wait.

        The old token dies in the same moment, so an attempt that was not dead after all writes nothing under a guard.
        Busy: a guarded transaction of the old attempt is still open, or the lock is paused; the lock is kept for us for
        the ttl, ask again. None: the earlier attempt has nothing (any more), so acquire as anybody else.
        """
        request = Request.of(lock)
        sent = self.clock()
        rows = self.store.call(
            "adopt",
            lock_names=request.names,
            owner_id=owner_id,
            previous_owner_id=previous_owner_id,
            owner=owner or _this_process(),
            ttl=self._ttl(request, ttl),
            context=None if context is None else _json(context),
        )
        if rows[0]["outcome"] == "gone":
            return None
        return self._decision(rows, sent, request.several, request.label)

    @overload
    def hold(
        self,
        lock: str | Lock,
        wait_timeout: Duration | None = _WAIT,
        ttl: Duration | None = None,
        *,
        owner_id: str | None = None,
        **asking: Unpack[Asking],
    ) -> AbstractContextManager[Lease]: ...
    @overload
    def hold(
        self,
        lock: Locks,
        wait_timeout: Duration | None = _WAIT,
        ttl: Duration | None = None,
        *,
        owner_id: str | None = None,
        **asking: Unpack[Asking],
    ) -> AbstractContextManager[LeaseSet]: ...
    @contextmanager
    def hold(
        self,
        lock: Any,
        wait_timeout: Duration | None = _WAIT,
        ttl: Duration | None = None,
        *,
        owner_id: str | None = None,
        **asking: Unpack[Asking],
    ) -> Iterator[Any]:
        """Acquire, keep while the body runs, release.

        If the lease is lost, LeaseLost is raised inside the body, or at its end at the latest.
        """
        with Interrupter() as interrupter:
            lease = self.acquire(lock, wait_timeout, owner_id, ttl, **asking)
            try:
                with Keeper(self, lease, interrupter.interrupt) as keeper:
                    yield lease
                if keeper.loss:
                    raise keeper.loss
            finally:
                self._give_back(lease)

    @contextmanager
    def fenced(self, lease: Lease | LeaseSet) -> Iterator[Any]:
        """A cursor in a guarded transaction, on a connection of its own: commits only if the lease is still ours.

        While it is open the lock is granted to nobody else, whatever happens to the lease. Raises LeaseLost, also at
        the end: then nothing was written.
        """
        with self.store.transaction() as connection:
            self.store.fence(connection, [one.lock_name for one in lease.leases])
            for one in lease.leases:
                self._check(connection, "guard", one)
            with driver.plain_cursor(connection) as cursor:
                yield cursor
            for one in lease.leases:
                self._check(connection, "still_held", one)

    # People's verbs

    def revoke(
        self, name: str, by: str, reason: str, *, token: int | None = None, terminate: bool = False
    ) -> list[Lease]:
        """Take the lock away from all its owners (or from one token), recorded with person and reason.

        A reservation goes together with its place in line, on all locks of its ticket: else it would be made anew at
        once. What a lease was to be held at least ends too.
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
        """Who waits, in order, and for what."""
        # The whole line, also for one owner: older requests of others stand in its way.
        rows = self.store.call("queue", lock_name=name, owner_id=None, skip_after=self.settings.skip_after)
        if not any(owner_id in (None, row["owner_id"]) for row in rows):
            return []
        waiters = explain([Waiter(**row) for row in rows], self.store.call("holders", lock_name=name))
        return [waiter for waiter in waiters if owner_id in (None, waiter.owner_id)]

    def last_event(self, name: str, owner_id: str) -> str | None:
        """What happened last to this owner on this lock: "released", "expired" …; None if it was never heard of."""
        rows = self.store.call("last_event", lock_name=name, owner_id=owner_id)
        return rows[0]["event"] if rows else None

    def history(self, name: str | None = None, limit: int = 100) -> list[LeaseEvent]:
        """What happened, newest first."""
        return [LeaseEvent(**row) for row in self.store.call("history", lock_name=name, limit=limit)]

    def listener(self) -> Listener:
        """What wakes the calling thread when locks change. To be closed by it."""
        return Listener(self.store, enabled=self.settings.listen)

    def limit_calls(self, seconds: float) -> None:
        """Verbs of the calling thread give up on a database that does not answer after this long."""
        self.store.limit_calls(seconds)

    def close(self) -> None:
        """Close the calling thread's connection; the next verb opens a new one."""
        self.store.close()

    # Inside

    def _ttl(self, request: Request, ttl: Duration | None) -> float:
        chosen = request.ttl if ttl is None else ttl
        result = self.settings.ttl if chosen is None else seconds(chosen, setting=f"ttl of {request}")
        self.settings.renewal_period(result)
        return result

    def _decision(
        self, rows: list[Row], sent: float, several: bool, lock_name: str | None = None
    ) -> Lease | LeaseSet | Busy:
        if rows[0]["outcome"] == "granted":
            leases = tuple(self._lease(row, sent) for row in rows)
            return LeaseSet(leases) if several or len(leases) > 1 else leases[0]
        names = dict.fromkeys(row["lock_name"] for row in rows)
        return Busy(
            lock_name or ", ".join(names),
            tuple(self._lease(row, sent) for row in rows if row["token"] is not None),
            position=rows[0]["position"],
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

    def _leave(self, request: Request, ticket: Ticket) -> None:
        """After an error while waiting: out of the line, and give back what was granted while the error came up."""
        try:
            self.withdraw(ticket.number, ticket.owner_id)
            for name in request.names:
                for lease in self.leases(name, owner_id=ticket.owner_id):
                    self.release(lease)
        except StoreError as error:
            # The first error is the one to tell. Unseen, the place is passed over after skip_after.
            log.warning("could not leave the line of %s: %s", request, error)

    def _give_back(self, lease: Lease | LeaseSet) -> None:
        """Release at the end of a body, whose own outcome counts: the work was done under the lease, or has failed."""
        try:
            self.release(lease)
        except StoreError as error:
            log.warning("%s could not be released, it ends by itself within %g s: %s", lease, lease.ttl, error)

    def _one(self, call: str, **params: Any) -> Any:
        (row,) = self.store.call(call, **params)
        (value,) = row.values()
        return value

    def _call_declared(self, request: Request, call: str, **params: Any) -> list[Row]:
        params |= request.params()
        try:
            return self.store.call(call, **params)
        except driver.LockMissing:
            # In a call, so a transaction, of its own: two first users must not wait for each other's decisions.
            self.store.call("declare", lock_names=params["lock_names"], capacity=params["capacity"])
            return self.store.call(call, **params)


def _request(lock: str | Lock | Locks, asking: Asking) -> Request:
    if unknown := set(asking) - Asking.__optional_keys__:
        raise TypeError(f"unknown arguments: {', '.join(sorted(unknown))}")
    return Request.of(lock, **{name: asking.get(name) for name in ("units", "capacity", "shared", "priority")})


def _wait_seconds(value: Duration | None, setting: str = "wait_timeout") -> float:
    return 0.0 if not value else seconds(value, setting=setting)


def _this_process() -> str:
    return f"{_host()}:{os.getpid()}"


@cache
def _host() -> str:
    return socket.gethostname()


def _json(context: Mapping[str, Any] | None) -> str:
    if not context:
        return "{}"
    try:
        return json.dumps(dict(context), default=str, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"context={context!r} cannot be kept as JSON: {error}") from error
