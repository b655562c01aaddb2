"""Keeps a lease alive from its own thread, and says in time when it is lost."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from airflow_lockprovider.lease.errors import LeaseLost, StoreError
from airflow_lockprovider.lease.model import Lease

if TYPE_CHECKING:
    from airflow_lockprovider.lease.engine import LeaseEngine

log = logging.getLogger(__name__)

_LOOK = 1.0
"""Seconds between two looks at the deadline."""


class Keeper:
    """Renews one lease until it is stopped.

    A failed renewal is not a loss: it is tried again until the lease can no longer be trusted. Loss means that the
    database says so, or that the local deadline has passed; the deadline counts from the moment *before* a renewal was
    sent (river: ``trustedUntil = attemptStarted + TTL - safetyMargin``) and is watched by a second thread, since a
    renewal may hang. ``on_lost`` is called once, from one of the two threads, with the error to raise.
    """

    def __init__(self, engine: LeaseEngine, lease: Lease, on_lost: Callable[[LeaseLost], object]) -> None:
        self._engine, self._on_lost, self._lease = engine, on_lost, lease
        self._period = engine.settings.renewal_period(lease.ttl)
        self._stopped = threading.Event()
        self._changed = threading.Condition()
        self._loss: LeaseLost | None = None
        name = f"lease-{lease.lock_name}-{lease.token}"
        self._threads = [
            threading.Thread(target=self._renew_until_stopped, name=f"{name}-keeper", daemon=True),
            threading.Thread(target=self._watch_deadline, name=f"{name}-deadline", daemon=True),
        ]

    @property
    def lease(self) -> Lease:
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

    def _renew_until_stopped(self) -> None:
        # A lease that was granted some time ago (the same request, asked again) may be due earlier.
        pause = min(self._period, max(0.0, self._give_up_at() - self._engine.clock()) / 2)
        warned = False
        try:
            # Jitter: leases that were granted together must not be renewed together for ever.
            while not self._stopped.wait(pause * random.uniform(0.8, 1.0)):
                try:
                    (answer,) = self._engine.renew_many([self._lease])
                except StoreError as error:
                    left = self._give_up_at() - self._engine.clock()
                    log.log(
                        logging.WARNING if left < self._lease.ttl / 2 and not warned else logging.INFO,
                        "renewing the %s failed, %.0f s until the work must stop: %s", self._lease, max(left, 0), error,
                    )  # fmt: skip
                    warned = warned or left < self._lease.ttl / 2
                    pause = max(0.2, min(self._period / 4, 5.0))
                    continue
                if answer.outcome == "lost":
                    self._lost(f"{self._lease} was lost: {answer.reason}")
                    return
                if answer.outcome == "skipped":
                    pause = min(1.0, self._period)
                    continue
                pause, warned = self._period, False
                with self._changed:
                    self._lease = answer.lease
                    self._changed.notify_all()
        except BaseException as error:
            # Whatever it is: a keeper that dies silently would let the work go on without a lease.
            log.exception("the keeper of the %s failed", self._lease)
            self._lost(f"{self._lease} can no longer be kept: {error!r}")
        finally:
            self._engine.close()

    def _watch_deadline(self) -> None:
        with self._changed:
            while not self._stopped.is_set() and self._loss is None:
                left = self._give_up_at() - self._engine.clock()
                if left <= 0:
                    break
                # Not longer: a wait does not count the time that a suspended machine sleeps, our clock does.
                self._changed.wait(min(left, _LOOK))
            else:
                return
        self._lost(
            f"{self._lease} could not be renewed in time: its {self._lease.ttl:g} s are nearly over and the database "
            "with the locks has not answered"
        )

    def _lost(self, message: str) -> None:
        with self._changed:
            if self._loss is not None or self._stopped.is_set():
                return
            self._loss = LeaseLost(message, lock_name=self._lease.lock_name)
            self._changed.notify_all()
        log.error("%s", message)
        self._on_lost(self._loss)
