"""Keeps a lease alive from its own thread, and says in time when it is lost."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar, cast

from airflow_lockprovider.lease.errors import LeaseLost, StoreError
from airflow_lockprovider.lease.lease_set import LeaseSet
from airflow_lockprovider.lease.model import Lease

if TYPE_CHECKING:
    from airflow_lockprovider.lease.engine import LeaseEngine

Held = TypeVar("Held", bound=Lease | LeaseSet)

log = logging.getLogger(__name__)

_LOOK = 1.0
"""Seconds between two looks at the deadline."""


class Keeper(Generic[Held]):
    """Renews one lease, or a set of leases, until it is stopped.

    A failed renewal is not a loss: it is tried again until the lease can no longer be trusted. Loss means that the
    database says so, or that the local deadline has passed; the deadline counts from the moment *before* a renewal was
    sent (river: ``trustedUntil = attemptStarted + TTL - safetyMargin``) and is watched by a second thread, since a
    renewal may hang. ``on_lost`` is called once, from one of the two threads, with the error to raise.

    ``on_danger`` is called when no renewal has got through for half of the ttl, with the seconds that are left until
    the work must stop; once, until a renewal gets through again. It runs beside the work; what it raises is logged.
    """

    def __init__(
        self,
        engine: LeaseEngine,
        lease: Held,
        on_lost: Callable[[LeaseLost], object],
        on_danger: Callable[[float], object] | None = None,
    ) -> None:
        self._engine, self._on_lost, self._on_danger, self._lease = engine, on_lost, on_danger, lease
        self._warned = False
        self._period = engine.settings.renewal_period(lease.ttl)
        self._stopped = threading.Event()
        self._changed = threading.Condition()
        self._loss: LeaseLost | None = None
        name = f"lease-{lease.lock_name}-{lease.leases[0].token}"
        self._threads = [
            threading.Thread(target=self._renew_until_stopped, name=f"{name}-keeper", daemon=True),
            threading.Thread(target=self._watch_deadline, name=f"{name}-deadline", daemon=True),
        ]

    @property
    def lease(self) -> Held:
        """The lease as last renewed."""
        return self._lease

    @property
    def loss(self) -> LeaseLost | None:
        """Why the lease was lost, if it was."""
        return self._loss

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End renewing. Does not wait for a renewal that is under way longer than a moment."""
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(timeout=1)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _give_up_at(self) -> float:
        ttl = self._lease.ttl
        return self._lease.trusted_until - (ttl - self._engine.settings.give_up_after(ttl))

    def _danger_at(self) -> float:
        return self._lease.trusted_until - self._lease.ttl / 2

    def _renew_until_stopped(self) -> None:
        # A lease that was granted some time ago (the same request, asked again) may be due earlier.
        pause = min(self._period, max(0.0, self._give_up_at() - self._engine.clock()) / 2)
        try:
            # A call that hangs must leave time for another one on a new connection.
            self._engine.limit_calls(self._period)
            # Jitter: leases that were granted together must not be renewed together for ever.
            while not self._stopped.wait(pause * random.uniform(0.8, 1.0)):
                try:
                    answers = self._engine.renew_many(self._lease.leases)
                except StoreError as error:
                    left = self._give_up_at() - self._engine.clock()
                    log.info("renewing the %s failed, %.0f s until the work must stop: %s", self._lease, left, error)
                    pause = max(0.2, min(self._period / 4, 5.0))
                    continue
                if lost := [answer for answer in answers if answer.outcome == "lost"]:
                    self._lost(f"{lost[0].lease} was lost: {lost[0].reason}", lost[0].lease.lock_name)
                    return
                skipped = any(answer.outcome == "skipped" for answer in answers)
                pause = min(1.0, self._period) if skipped else self._period
                with self._changed:
                    leases = tuple(answer.lease for answer in answers)
                    self._lease = cast("Held", LeaseSet(leases) if isinstance(self._lease, LeaseSet) else leases[0])
                    self._changed.notify_all()
        except BaseException as error:
            # Whatever it is: a keeper that dies silently would let the work go on without a lease.
            log.exception("the keeper of the %s failed", self._lease)
            self._lost(f"{self._lease} can no longer be kept: {error!r}")
        finally:
            self._engine.close()

    def _watch_deadline(self) -> None:
        while True:
            with self._changed:
                if self._stopped.is_set() or self._loss is not None:
                    return
                now = self._engine.clock()
                left, danger = self._give_up_at() - now, self._danger_at() - now
                if left > 0 and (danger > 0 or self._warned):
                    self._warned = self._warned and danger <= 0
                    # Not longer: a wait does not count the time that a suspended machine sleeps, our clock does.
                    self._changed.wait(min(left, danger if danger > 0 else left, _LOOK))
                    continue
            if left <= 0:
                break
            self._warned = True
            self._warn(left)
        self._lost(
            f"{self._lease} could not be renewed in time: its {self._lease.ttl:g} s are nearly over and the database "
            "with the locks has not answered"
        )

    def _warn(self, left: float) -> None:
        log.warning("no renewal of the %s got through for long, %.0f s until the work must stop", self._lease, left)
        if self._on_danger is None:
            return
        try:
            self._on_danger(left)
        except Exception:
            log.exception("on_danger of the %s failed", self._lease)

    def _lost(self, message: str, lock_name: str | None = None) -> None:
        with self._changed:
            if self._loss is not None or self._stopped.is_set():
                return
            self._loss = LeaseLost(message, lock_name=lock_name or self._lease.lock_name)
            self._changed.notify_all()
        log.error("%s", message)
        self._on_lost(self._loss)
