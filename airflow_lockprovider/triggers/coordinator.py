"""All waiters and all kept leases of one process and one database share two threads, each with one connection.

Triggers never speak to the database themselves: the event loop must not block, and a connection for each of a thousand
waiters would be too many. One thread renews, the other polls and reserves, so that a slow decision about a busy lock
never delays a renewal.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import ClassVar, Final, Literal, TypeVar

from airflow_lockprovider import metrics
from airflow_lockprovider.hooks.lease import LeaseHook
from airflow_lockprovider.lease.errors import ConfigurationError, LockProviderError
from airflow_lockprovider.lease.lease_set import LeaseSet
from airflow_lockprovider.lease.listener import Listener
from airflow_lockprovider.lease.model import Lease

log = logging.getLogger(__name__)
Result = TypeVar("Result")

_IDLE = 30.0
"""Seconds without work after which a thread ends and its connection is closed."""
_RETRY = 1.0
_GAP = 0.05
"""Least seconds between two looks, however often the database tells of a change."""


class _Called(Enum):
    CALLED = "called"


CALLED: Final = _Called.CALLED
Answer = Lease | LeaseSet | Literal[_Called.CALLED] | None


@dataclass(eq=False)
class Waiting:
    """A ticket that is looked after."""

    ticket: int
    handover_ttl: float | None
    not_before: float
    """On time.monotonic(): no reservation earlier, its trigger could not fire yet."""
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Answer]
    """The reservation; CALLED if its task should come to a worker and wait there; None when the ticket is no more;
    ConfigurationError when it can never be granted."""
    since: float = field(default_factory=time.monotonic)


@dataclass(eq=False)
class Kept:
    """A lease that is renewed."""

    lease: Lease
    loop: asyncio.AbstractEventLoop
    lost: asyncio.Future[str]
    """Why it was lost."""
    due: float = 0.0
    """On the hook's clock."""
    marked: bool = False
    """Whether the database knows that its holder has no worker."""
    every: float | None = None
    """Seconds between two renewals at most; None: as its ttl asks for."""


class Coordinator:
    """Looks after waiters and leases on behalf of the triggers of this process. Get it with `Coordinator.of`."""

    _all: ClassVar[dict[tuple[str, str], Coordinator]] = {}
    _making = threading.Lock()

    def __init__(self, hook: LeaseHook) -> None:
        self.session_id = str(uuid.uuid4())
        self._hook = hook
        self._changed = threading.Condition()
        self._waiting: set[Waiting] = set()
        self._left: set[int] = set()
        """Tickets that were forgotten without an answer: the database still takes this process for their keeper."""
        self._kept: set[Kept] = set()
        self._threads: dict[str, threading.Thread] = {}
        self._listener: Listener | None = None

    @classmethod
    def of(cls, hook: LeaseHook) -> Coordinator:
        """The coordinator of this process for the hook's database. The hook must have its connection resolved."""
        # Before the lock: whatever asks Airflow something lets other triggers run in this thread meanwhile (greenback),
        # and the next one to come here would block the loop for ever.
        key = (hook.lease_conn_id, hook.store.schema)
        made = cls(hook)
        with cls._making:
            return cls._all.setdefault(key, made)

    # Called in the event loop

    def wait(self, ticket: int, *, handover_ttl: float | None, not_before: float) -> Waiting:
        """Look after a ticket until it has its reservation, is no more, or is forgotten."""
        loop = asyncio.get_running_loop()
        waiting = Waiting(ticket, handover_ttl, not_before, loop, loop.create_future())
        with self._changed:
            self._waiting.add(waiting)
            self._ensure("waiter", self._reserve_round, lambda: bool(self._waiting))
            if self._listener is not None:
                self._listener.wake()
        return waiting

    def keep(self, *, lock_name: str, owner_id: str, token: int, ttl: float, every: float | None = None) -> Kept:
        """Renew a lease until it is lost or forgotten. The first renewal is done at once.

        ``every``: renew at least so often, in seconds, to learn early that somebody else has given it back.
        """
        loop = asyncio.get_running_loop()
        now = datetime.now(UTC)
        lease = Lease(
            lock_name=lock_name,
            owner_id=owner_id,
            owner=owner_id,
            token=token,
            units=1,
            shared=False,
            state="held",
            ttl=ttl,
            remaining=ttl,
            created_at=now,
            expires_at=now,
            trusted_until=self._hook.clock() + ttl,
        )
        kept = Kept(lease, loop, loop.create_future(), every=every)
        with self._changed:
            self._kept.add(kept)
            self._ensure("keeper", self._renew_round, lambda: bool(self._kept))
        return kept

    def forget(self, entry: Waiting | Kept) -> None:
        """Look after it no more. Gives nothing back: that is for whoever knows why.

        A place in line that nobody else looks after is passed over after ``skip_after``.
        """
        with self._changed:
            if isinstance(entry, Waiting) and entry in self._waiting:
                self._left.add(entry.ticket)
        self._drop(entry)

    def _drop(self, entry: Waiting | Kept) -> None:
        with self._changed:
            self._waiting.discard(entry)
            self._kept.discard(entry)

    def give_up_at(self, kept: Kept) -> float:
        """When the work under this lease must have stopped, on the hook's clock."""
        ttl = kept.lease.ttl
        return kept.lease.trusted_until - (ttl - self._hook.settings.give_up_after(ttl))

    # In the threads

    def _ensure(self, name: str, work: Callable[[], float], busy: Callable[[], bool]) -> None:
        self._changed.notify_all()
        if name not in self._threads:
            thread = threading.Thread(
                target=self._run, args=(name, work, busy), name=f"lease-{name}-{self._hook.lease_conn_id}", daemon=True
            )
            self._threads[name] = thread
            thread.start()

    def _run(self, name: str, work: Callable[[], float], busy: Callable[[], bool]) -> None:
        try:
            while True:
                with self._changed:
                    idle, waiting, kept = not busy(), len(self._waiting), len(self._kept)
                metrics.gauge("triggerer_waiting", waiting)
                metrics.gauge("triggerer_keeping", kept)
                if idle:
                    self._stop_listening(name)
                with self._changed:
                    if not busy() and not self._changed.wait_for(busy, timeout=_IDLE):
                        del self._threads[name]
                        return
                try:
                    pause = work()
                except LockProviderError as error:
                    log.warning("the locks at %s cannot be reached, trying again: %s", self._hook.lease_conn_id, error)
                    self._hook.close()
                    pause = _RETRY
                except Exception:
                    # Nobody is lost: all entries are still there for the next round.
                    log.exception("a round of the lease %s failed, trying again", name)
                    self._hook.close()
                    pause = _RETRY
                with self._changed:
                    listener = self._listener if name == "waiter" else None
                    if listener is None:
                        self._changed.wait(pause)
                if listener is not None:
                    self._listen(listener, pause)
        finally:
            self._stop_listening(name)
            self._hook.close()

    def _listen(self, listener: Listener, pause: float) -> None:
        """Rest until it may be the turn of one of ours. Not on and on: on a busy day that happens all the time."""
        time.sleep(min(pause, _GAP))
        with self._changed:
            ours = {entry.ticket for entry in self._waiting}
        listener.wait(max(0.0, pause - _GAP), ticket=ours)

    def _stop_listening(self, name: str) -> None:
        if name == "waiter" and self._listener is not None:
            with self._changed:
                listener, self._listener = self._listener, None
            listener.close()

    def _reserve_round(self) -> float:
        with self._changed:
            waiting = {entry.ticket: entry for entry in self._waiting}
            left, self._left = self._left - waiting.keys(), set()
            if self._listener is None:
                self._listener = self._hook.listener()
        self._listener.start()
        if left:
            self._unwatch(left)
        now = time.monotonic()
        unsettled = [ticket for ticket, entry in waiting.items() if entry.not_before > now]
        views = self._hook.look(self.session_id, list(waiting), unsettled=unsettled)
        # Looks often at first: who gave back just before a ticket was there has told nobody. Not for those that may not
        # fire yet: they are looked at again before they may.
        ages = [time.monotonic() - entry.since for entry in waiting.values() if entry.not_before <= now]
        pause = min(self._hook.settings.poll_interval, max(_GAP, min(ages, default=_IDLE)))
        for view in sorted(views, key=lambda view: view.number):
            entry = waiting[view.number]
            if view.verdict == "gone":
                self._answer(entry, None)
            elif view.verdict == "call" and self._is_wanted(entry):
                if self._hook.call_up(view.number):
                    self._answer(entry, CALLED)
            elif view.verdict == "try" and self._is_wanted(entry):
                if (rest := entry.not_before - time.monotonic()) > 0:
                    pause = min(pause, rest)
                else:
                    self._try(entry)
        return pause

    def _unwatch(self, tickets: set[int]) -> None:
        try:
            self._hook.unwatch(self.session_id, sorted(tickets))
        except BaseException:
            with self._changed:
                self._left |= tickets
            raise

    def _try(self, entry: Waiting) -> None:
        try:
            answer = self._hook.reserve(entry.ticket, session_id=self.session_id, handover_ttl=entry.handover_ttl)
        except ConfigurationError as error:
            # This request can never be granted (its lock has shrunk, say). The others must not wait for it.
            self._drop(entry)
            _settle_future(entry.loop, entry.answer, error)
            return
        if answer or answer is None:
            self._answer(entry, answer)

    def _renew_round(self) -> float:
        now = self._hook.clock()
        with self._changed:
            due = [entry for entry in self._kept if entry.due <= now]
        begun = time.monotonic()
        try:
            answers = self._hook.renew_many([entry.lease for entry in due])
            if due:
                metrics.timing("renew_latency", time.monotonic() - begun, where="triggerer")
        except LockProviderError as error:
            for entry in due:
                if self._hook.clock() >= self.give_up_at(entry):
                    self._lose(entry, f"it could not be renewed in time: {error}")
            raise
        for entry, answer in zip(due, answers, strict=True):
            if answer.outcome == "lost":
                self._lose(entry, answer.reason)
            elif answer.outcome == "skipped":
                entry.due = now + _RETRY
            else:
                entry.lease = answer.lease
                period = self._hook.settings.renewal_period(entry.lease.ttl)
                entry.due = now + min(period, entry.every or period)
        self._mark_deferred(due)
        with self._changed:
            next_due = min((entry.due for entry in self._kept), default=now + _IDLE)
        return max(0.05, next_due - self._hook.clock())

    def _mark_deferred(self, renewed: list[Kept]) -> None:
        """Once per lease: while its holder needs a worker to finish, nobody is called up to one. Only a hint."""
        if new := [entry for entry in renewed if not entry.marked]:
            try:
                self._hook.set_deferred([entry.lease for entry in new], True)
            except LockProviderError as error:
                log.info("cannot tell that the owners of %d leases are deferred: %s", len(new), error)
                return
            for entry in new:
                entry.marked = True

    def _is_wanted(self, entry: Waiting) -> bool:
        with self._changed:
            return entry in self._waiting

    def _answer(self, entry: Waiting, answer: Answer) -> None:
        self._drop(entry)
        _settle_future(entry.loop, entry.answer, answer)

    def _lose(self, entry: Kept, reason: str) -> None:
        self._drop(entry)
        metrics.count_loss(entry.lease.lock_name, reason)
        _settle_future(entry.loop, entry.lost, reason)


def _settle_future(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Result], result: Result | LockProviderError
) -> None:
    def settle() -> None:
        if future.done():
            return
        if isinstance(result, LockProviderError):
            future.set_exception(result)
        else:
            future.set_result(result)

    try:
        loop.call_soon_threadsafe(settle)
    except RuntimeError:
        log.debug("the event loop of a trigger is closed, its answer is dropped")
