"""The lease engine: every verb on locks, over one store."""

from __future__ import annotations

import json
import logging
import os
import socket
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any, Literal, TypedDict, Unpack, overload

from airflow_lockprovider.lease import driver
from airflow_lockprovider.lease.duration import Duration, seconds
from airflow_lockprovider.lease.errors import ConfigurationError, LeaseLost, LeaseWaitTimeout, StoreError
from airflow_lockprovider.lease.interrupt import Interrupter
from airflow_lockprovider.lease.keeper import Keeper
from airflow_lockprovider.lease.keeping import KeepingVerbs
from airflow_lockprovider.lease.lease_set import LeaseSet
from airflow_lockprovider.lease.lock import Lock
from airflow_lockprovider.lease.looking import LookingVerbs
from airflow_lockprovider.lease.model import Busy, Lease, Ticket, TicketView
from airflow_lockprovider.lease.once import OnceVerbs
from airflow_lockprovider.lease.overview import OverviewVerbs
from airflow_lockprovider.lease.request import Locks, Request
from airflow_lockprovider.lease.standby import StandbyVerbs
from airflow_lockprovider.lease.steering import SteeringVerbs

log = logging.getLogger(__name__)

Row = dict[str, Any]

_FIRST_LOOK = 0.005
"""Seconds from drawing a ticket to the second look."""
_RARER = 4
"""Each pause is so many times as long as the one before, up to poll_interval."""
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


class LeaseEngine(KeepingVerbs, SteeringVerbs, LookingVerbs, StandbyVerbs, OnceVerbs, OverviewVerbs):
    """Grants, keeps and gives back leases.

    Every verb is synchronous, one call to the database, in autocommit. A lock is named by text or by a `Lock`, whose
    fields are the defaults of the keyword arguments; a list of these is one request for all of them. Durations are
    seconds or timedelta.

    Every verb raises StoreUnavailable when the database does not serve, SchemaOutdated when the tables are missing,
    and ConfigurationError for input that cannot work; none of them ever means "go ahead".
    """

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

        listener = self.listener()
        pause = _FIRST_LOOK
        try:
            ticket = self._enqueue(request, owner_id, asking, listen=listener.enabled)
        except BaseException:
            listener.close()
            raise
        try:
            listener.hear()
            while True:
                listener.start()  # before the look: what changes after it is heard
                rows, sent = self._confirm(
                    ticket.number, owner_id, self._ttl(request, ttl), asking.get("context"), request.hold_at_least,
                    unlisten=listener.listens,
                )  # fmt: skip
                answer = self._decision(rows, sent, request.several, request.label) if rows else None
                if answer:
                    listener.unheard()
                    return answer
                left = self.settings.poll_interval if limit is None else limit - self.clock()
                if answer is None or left <= 0:
                    reason = "its place in line was taken away" if answer is None else str(answer)
                    raise LeaseWaitTimeout(
                        f"{request} {'were' if len(request.locks) > 1 else 'was'} not free within "
                        f"wait_timeout={wait_timeout}: {reason}",
                        lock_name=request.label,
                    )
                if listener.enabled:
                    # Looks often at first: who gave back just before our ticket was there has told nobody.
                    listener.wait(min(self.settings.poll_interval, left, pause), request.names, ticket.number)
                    pause *= _RARER
                else:
                    self._sleep(min(self.settings.poll_interval, left))
        except BaseException:
            self._leave(request, ticket)
            raise
        finally:
            listener.close()

    def enqueue(self, lock: str | Lock | Locks, *, owner_id: str, **asking: Unpack[Asking]) -> Ticket:
        """Take a place in line. The same ``owner_id`` asking again gets the same ticket."""
        return self._enqueue(_request(lock, asking), owner_id, asking)

    def _enqueue(self, request: Request, owner_id: str, asking: Asking, *, listen: bool = False) -> Ticket:
        (row,) = self._call_declared(
            request,
            "enqueue_and_listen" if listen else "enqueue",
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
        self,
        ticket: int,
        owner_id: str,
        ttl: float,
        context: Mapping[str, Any] | None,
        hold_at_least: float,
        *,
        unlisten: bool = False,
    ) -> tuple[list[Row], float]:
        sent = self.clock()
        rows = self.store.call(
            "confirm_and_unlisten" if unlisten else "confirm",
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

    # Taking over, and holding

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

    # Inside

    def _ttl(self, request: Request, ttl: Duration | None) -> float:
        chosen = request.ttl if ttl is None else ttl
        result = self.settings.ttl if chosen is None else seconds(chosen, setting=f"ttl of {request}")
        self.settings.renewal_period(result)
        return result

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
