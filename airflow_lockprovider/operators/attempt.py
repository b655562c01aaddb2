"""One try of a task at its lock, as seen from a worker."""

from __future__ import annotations

import logging
import os
import socket
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from airflow_lockprovider.compat import AirflowSkipException, TaskDeferred
from airflow_lockprovider.hooks.lease import LeaseHook
from airflow_lockprovider.lease.errors import LeaseLost, LeaseWaitTimeout, LockProviderError
from airflow_lockprovider.lease.lock import Lock
from airflow_lockprovider.lease.model import Busy, Lease
from airflow_lockprovider.triggers.waiting import WaitForLeaseTrigger


class Attempt:
    """Takes, waits for and gives back the lease of one task instance try.

    The owner is the task instance's id: it is new for every try, so a retry or a clear is never mistaken for the old
    owner, and the same in every leg of one try.
    """

    def __init__(self, lock: Lock, ti: Any, log: logging.Logger) -> None:
        self.lock = lock
        self.owner_id = str(ti.id)
        self.owner = _label(ti)
        self.context = _describe(ti)
        self.hook = LeaseHook(lock.lease_conn_id)
        self.last_answer: Lease | Busy | None = None
        self._log = log

    def enter(self, method: str, kwargs: dict[str, Any]) -> Lease:
        """Get the lease now, or do what ``on_busy`` says.

        Waiting means to raise TaskDeferred; the task comes back to ``method`` with ``kwargs``.
        """
        answer = self.hook.try_acquire(self.lock, self.owner_id, ttl=self._ttl, owner=self.owner, context=self.context)
        self.last_answer = answer
        if answer:
            return answer
        if self.lock.on_busy == "skip":
            raise AirflowSkipException(f"{answer}; on_busy='skip'")
        if self.lock.on_busy == "fail":
            raise LeaseWaitTimeout(f"{answer}; on_busy='fail'", lock_name=self.lock.name)
        return self.wait(answer, method, kwargs)

    def confirm(self, ticket: int, method: str, kwargs: dict[str, Any]) -> Lease:
        """Turn the reservation into a lease. Waits again, with the same place in line, if it has lapsed."""
        answer = self.hook.confirm(
            ticket,
            self.owner_id,
            ttl=self._ttl,
            context=self.context,
            hold_at_least=self.lock.hold_at_least,  # type: ignore[arg-type]  # a Lock keeps durations in seconds
        )
        self.last_answer = answer
        if answer:
            return answer
        if answer is None:
            self._log.info("ticket %s for lock %r is no more, starting over", ticket, self.lock.name)
            return self.enter(method, kwargs)
        self._log.info("the reservation of lock %r lapsed before this worker came", self.lock.name)
        return self.wait(answer, method, kwargs)

    def wait(self, busy: Busy, method: str, kwargs: dict[str, Any]) -> NoReturn:
        """Draw a ticket, or keep the one there is, and wait in the triggerer."""
        ticket = self.hook.enqueue(self.lock, owner_id=self.owner_id, owner=self.owner, context=self.context)
        deadline = None
        if (limit := self.lock.wait_timeout) is not None:
            left = float(limit) - ticket.waited  # type: ignore[arg-type]  # a Lock keeps durations in seconds
            if left <= 0:
                self.hook.withdraw(ticket.number, self.owner_id)
                self.give_up()
            deadline = datetime.now(UTC) + timedelta(seconds=left)
        self._log.info("%s; waiting in line with ticket %s", busy, ticket.number)
        trigger = WaitForLeaseTrigger(
            ticket=ticket.number,
            owner_id=self.owner_id,
            lock_name=self.lock.name,
            lease_conn_id=self.hook.lease_conn_id,
            schema=self.hook.store.schema,
            handover_ttl=self.lock.handover_ttl,  # type: ignore[arg-type]
            deadline=deadline,
            method=method,
            kwargs=kwargs,
        )
        raise TaskDeferred(trigger=trigger, method_name=method, kwargs=kwargs)

    def give_up(self) -> NoReturn:
        """Raise LeaseWaitTimeout with who holds the lock now."""
        holders = ", ".join(f"{lease.owner} (token {lease.token})" for lease in self.hook.leases(self.lock.name))
        raise LeaseWaitTimeout(
            f"lock {self.lock.name!r} was not free within wait_timeout={self.lock.wait_timeout} s; "
            + (f"held by {holders}" if holders else "nobody holds it now, others were next in line"),
            lock_name=self.lock.name,
        )

    def take_up(self, token: int) -> Lease:
        """Go on with the lease that the triggerer has kept for us. Raises LeaseLost."""
        for lease in self.hook.leases(self.lock.name, owner_id=self.owner_id):
            if lease.token == token:
                return self.hook.renew(lease)
        raise LeaseLost(
            f"the lease on {self.lock.name!r}, token {token}, was lost while the task was deferred: "
            f"{self.hook.last_event(self.lock.name, self.owner_id) or 'nothing is known of it'}",
            lock_name=self.lock.name,
        )

    def held(self) -> Lease | None:
        """The lease that this try still has, as the database says."""
        leases = self.hook.leases(self.lock.name, owner_id=self.owner_id)
        return next((lease for lease in leases if lease.state == "held"), None)

    def leave_line(self) -> None:
        """Give up the place in line, if there is one."""
        for waiter in self.hook.queue(self.lock.name, owner_id=self.owner_id):
            self.hook.withdraw(waiter.ticket, self.owner_id)
        for lease in self.hook.leases(self.lock.name, owner_id=self.owner_id):
            self.hook.release(lease)

    def release(self, lease: Lease) -> None:
        """Give back. If the database does not answer, the lease ends by itself: that fails no task."""
        try:
            given_back = self.hook.release(lease)
        except LockProviderError as error:
            self._log.warning("%s could not be released, it ends by itself within %g s: %s", lease, lease.ttl, error)
            return
        finally:
            self.hook.close()
        held = datetime.now(UTC) - lease.created_at
        self._log.info(
            "lock %r %s: token %s, held %.1f s",
            lease.lock_name,
            "released" if given_back else "was already gone",
            lease.token,
            held.total_seconds(),
        )

    @property
    def _ttl(self) -> float | None:
        return self.lock.ttl  # type: ignore[return-value]


def _label(ti: Any) -> str:
    """``dag/run/task[map]#try``: for people, in logs and views."""
    map_index = getattr(ti, "map_index", None)
    mapped = "" if map_index is None or map_index < 0 else f"[{map_index}]"
    parts = (str(getattr(ti, name, None) or "?") for name in ("dag_id", "run_id", "task_id"))
    return f"{'/'.join(parts)}{mapped}#{getattr(ti, 'try_number', None) or 1}"


def _describe(ti: Any) -> dict[str, Any]:
    names = ("dag_id", "run_id", "task_id", "map_index", "try_number", "log_url")
    known = {name: getattr(ti, name, None) for name in names}
    known |= {"host": socket.gethostname(), "pid": os.getpid()}
    return {name: value for name, value in known.items() if isinstance(value, str | int)}
