"""One try of a task at its lock, as seen from a worker."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_lockprovider import metrics
from airflow_lockprovider.compat import AirflowSkipException, TaskDeferred
from airflow_lockprovider.lease.errors import LeaseLost, LeaseWaitTimeout, LockProviderError
from airflow_lockprovider.lease.lease_set import LeaseSet
from airflow_lockprovider.lease.model import Busy, Lease, Ticket
from airflow_lockprovider.operators.measured_hook import MeasuredHook
from airflow_lockprovider.operators.standby import Standby
from airflow_lockprovider.operators.wanted import Wanted

# A task that finds its lock free needs no trigger, so they are imported where they are made.
if TYPE_CHECKING:
    from airflow_lockprovider.triggers.keeping import KeepLeaseTrigger


class Attempt:
    """Takes, waits for and gives back the lease (or the leases) of one task instance try.

    The owner is the task instance's id: it is new for every try, so a retry or a clear is never mistaken for the old
    owner, and the same in every leg of one try.
    """

    def __init__(self, wanted: Wanted, ti: Any, log: logging.Logger) -> None:
        self.wanted = wanted
        self.owner_id = str(ti.id)
        self.owner = _label(ti)
        self._is_retry = (getattr(ti, "try_number", None) or 1) > 1
        self.context = _describe(ti, wanted.expected_hold)
        self.hook = MeasuredHook(wanted.lease_conn_id, quick=True)
        self.last_answer: Lease | LeaseSet | Busy | None = None
        self._log = log
        self._standby = Standby(wanted, ti, self.hook, self.owner_id, self.context, log)

    def enter(self, method: str, kwargs: dict[str, Any]) -> Lease | LeaseSet:
        """Get the lease now, or do what ``on_busy`` says.

        Waiting means to raise TaskDeferred; the task comes back to ``method`` with ``kwargs``.
        """
        wanted = self.wanted
        answer: Lease | LeaseSet | Busy = self.hook.try_acquire(
            wanted.asked,
            self.owner_id,
            ttl=wanted.ttl,
            owner=self.owner,
            context=self.context,
        )
        self.last_answer = answer
        if answer:
            return answer
        if wanted.on_busy == "skip":
            raise AirflowSkipException(f"{answer}; on_busy='skip'")
        if wanted.on_busy == "fail":
            raise LeaseWaitTimeout(f"{answer}; on_busy='fail'", lock_name=wanted.lock_name)
        return self.wait(answer, method, kwargs)

    def confirm(self, ticket: int, method: str, kwargs: dict[str, Any]) -> Lease | LeaseSet:
        """Turn the reservation into a lease. Waits again, with the same place in line, if it has lapsed."""
        answer: Lease | LeaseSet | Busy | None = self.hook.confirm(
            ticket,
            self.owner_id,
            ttl=self.wanted.ttl,
            context=self.context,
            hold_at_least=self.wanted.hold_at_least,
            several=self.wanted.several,  # type: ignore[call-overload]
        )
        if isinstance(answer, Busy):
            self._log.info("the reservation of %s lapsed before this worker came", self.wanted.noun)
        return self._go_on(ticket, answer, method, kwargs, linger=True)

    def stand_by(self, ticket: int, method: str, kwargs: dict[str, Any]) -> Lease | LeaseSet:
        """We were called up: wait on this worker for the last moments. Leaves, keeping its place, if it takes long."""
        left = None
        if self.wanted.wait_timeout is not None:
            left = self._time_left(self._enqueue())
        return self._go_on(ticket, self._standby.stand_by(ticket, left), method, kwargs, linger=False)

    def _go_on(
        self, ticket: int, answer: Lease | LeaseSet | Busy | None, method: str, kwargs: dict[str, Any], *, linger: bool
    ) -> Lease | LeaseSet:
        """With the lease, or back to waiting, or, where the ticket is no more, from the beginning."""
        self.last_answer = answer
        if answer:
            return answer
        if answer is None:
            self._log.info("ticket %s for %s is no more, starting over", ticket, self.wanted.noun)
            return self.enter(method, kwargs)
        return self.wait(answer, method, kwargs, linger=linger)

    def wait(self, busy: Busy, method: str, kwargs: dict[str, Any], *, linger: bool = True) -> Lease | LeaseSet:
        """Draw a ticket, or keep the one there is, and wait: for a moment on this worker, then in the triggerer."""
        wanted = self.wanted
        if self._is_retry:
            self._withdraw_earlier_tries()
        ticket = self._enqueue()
        left = self._time_left(ticket)
        if linger and (answer := self._standby.linger(ticket.number, left)):
            self.last_answer = answer
            return answer
        if linger and left is not None:
            left = self._time_left(self._enqueue())
        deadline = None if left is None else datetime.now(UTC) + timedelta(seconds=left)
        self._log.info("%s; waiting as number %s in line (ticket %s)", busy, busy.position + 1, ticket.number)
        from airflow_lockprovider.triggers.waiting import WaitForLeaseTrigger

        trigger = WaitForLeaseTrigger(
            ticket=ticket.number,
            owner_id=self.owner_id,
            lock_name=wanted.lock_name,
            lease_conn_id=self.hook.lease_conn_id,
            schema=self.hook.store.schema,
            handover_ttl=wanted.handover_ttl,
            deadline=deadline,
            method=method,
            kwargs=kwargs,
        )
        raise TaskDeferred(trigger=trigger, method_name=method, kwargs=kwargs)

    def _withdraw_earlier_tries(self) -> None:
        """A try that was cleared while it waited may have left its ticket: its trigger was perhaps not there yet."""
        from airflow_lockprovider.triggers.takeover import is_earlier_try

        for waiter in self.hook.queue(self.wanted.names[0]):
            if is_earlier_try(waiter.owner, self.owner):
                self.hook.withdraw(waiter.ticket, waiter.owner_id)

    def _enqueue(self) -> Ticket:
        return self.hook.enqueue(self.wanted.asked, owner_id=self.owner_id, owner=self.owner, context=self.context)

    def _time_left(self, ticket: Ticket) -> float | None:
        """Seconds of wait_timeout; None: no limit. Gives up, leaving the line, when there are none."""
        if (limit := self.wanted.wait_timeout) is None:
            return None
        if (left := limit - ticket.waited) <= 0:
            self.hook.withdraw(ticket.number, self.owner_id)
            self.give_up()
        return left

    def give_up(self) -> NoReturn:
        """Raise LeaseWaitTimeout with who holds the lock now."""
        several = len(self.wanted.locks) > 1
        held = [lease for name in self.wanted.names for lease in self.hook.leases(name)]
        holders = ", ".join(
            f"{lease.owner} ({f'{lease.lock_name!r}, ' if several else ''}token {lease.token})" for lease in held
        )
        raise LeaseWaitTimeout(
            f"{self.wanted.noun} {'were' if several else 'was'} not free within "
            f"wait_timeout={self.wanted.wait_timeout} s; "
            + (f"held by {holders}" if holders else "nobody holds it now, others were next in line"),
            lock_name=self.wanted.lock_name,
        )

    def take_up(self, tokens: Mapping[str, int]) -> Lease | LeaseSet:
        """Go on with what the triggerer has kept for us. Raises LeaseLost, and gives the rest back, if one is gone."""
        ours = self._ours()
        kept = [lease for lease in ours if tokens.get(lease.lock_name) == lease.token]
        if gone := [name for name in self.wanted.names if name not in {lease.lock_name for lease in kept}]:
            raise self._lost(gone, kept, tokens)
        return self._renewed(kept)

    def held(self) -> Lease | LeaseSet | None:
        """What this try still has, as the database says, renewed; None: nothing.

        Raises LeaseLost, and gives the rest back, if it has some of its locks but not all.
        """
        ours = [lease for lease in self._ours() if lease.state == "held"]
        if gone := [name for name in self.wanted.names if name not in {lease.lock_name for lease in ours}]:
            if ours:
                raise self._lost(gone, ours, {})
            return None
        return self._renewed(ours)

    def end(self) -> LeaseLost | None:
        """Why this try, which once held the lock, has it no longer; None if it gave it back or never had it."""
        ends = {name: self.hook.last_event(name, self.owner_id) for name in self.wanted.names}
        if gone := [name for name, event in ends.items() if event in ("expired", "revoked")]:
            return self._lost(gone, [], {})
        return None

    def abandon(self) -> None:
        """Give up everything, as this try is over. If the database does not answer, it ends by itself."""
        self.hook.close()  # whatever its connection was doing was cut short
        try:
            self.leave_line()
        except LockProviderError as error:
            self._log.warning("%s could not be given up, which then ends by itself: %s", self.wanted.noun, error)
        finally:
            self.hook.close()

    def tell(self, lease: Lease | LeaseSet, *, again: bool) -> None:
        """Say in the task's log that the lock is ours. ``again``: it already was in an earlier leg."""
        what = ", ".join(f"{one.lock_name!r} (token {one.token})" for one in lease.leases)
        noun, verb = ("lock", "is") if len(lease.leases) == 1 else ("locks", "are")
        if again:
            since = datetime.now(UTC) - lease.leases[0].created_at
            self._log.info("%s %s %s still ours, for %.1f s now", noun, what, verb, since.total_seconds())
        else:
            self._log.info("%s %s %s ours, waited %.1f s", noun, what, verb, lease.waited)
            for one in lease.leases:
                metrics.count("granted", lock_name=one.lock_name)
                metrics.timing("wait_time", one.waited, lock_name=one.lock_name)

    def leave_line(self) -> None:
        """Give up the place in line, if there is one, and what is held or reserved."""
        for waiter in self.hook.queue(self.wanted.names[0], owner_id=self.owner_id):  # one ticket, in all lines
            self.hook.withdraw(waiter.ticket, self.owner_id)
        for lease in self._ours():
            self.hook.release(lease)

    def keeping(self, lease: Lease | LeaseSet) -> type[KeepLeaseTrigger]:
        """The trigger that keeps it while the task is deferred by itself."""
        from airflow_lockprovider.triggers.keeping import KeepLeaseTrigger

        return KeepLeaseTrigger

    def release(self, lease: Lease | LeaseSet) -> None:
        """Give back. If the database does not answer, the lease ends by itself: that fails no task."""
        try:
            for one in lease.leases:
                self._release(one)
        finally:
            self.hook.close()

    def _release(self, lease: Lease) -> None:
        try:
            given_back = self.hook.release(lease)
        except LockProviderError as error:
            self._log.warning("%s could not be released, it ends by itself within %g s: %s", lease, lease.ttl, error)
            return
        held = datetime.now(UTC) - lease.created_at
        self._log.info(
            "lock %r %s: token %s, held %.1f s",
            lease.lock_name,
            "released" if given_back else "was already gone",
            lease.token,
            held.total_seconds(),
        )
        if given_back:
            metrics.count("released", lock_name=lease.lock_name)
            metrics.timing("hold_time", held.total_seconds(), lock_name=lease.lock_name)
        else:
            metrics.count_loss(lease.lock_name, self._last_event(lease.lock_name))

    def _last_event(self, lock_name: str) -> str | None:
        try:
            return self.hook.last_event(lock_name, self.owner_id)
        except LockProviderError:
            return None  # only for a metric

    def _ours(self) -> list[Lease]:
        """All that this try holds or has reserved, of the locks that it asks for."""
        names = set(self.wanted.names)
        return [lease for lease in self.hook.leases(owner_id=self.owner_id) if lease.lock_name in names]

    def _renewed(self, leases: list[Lease]) -> Lease | LeaseSet:
        try:
            self.hook.set_deferred(leases, False)
        except LockProviderError as error:
            self._log.debug("cannot tell that %s has a worker again: %s", self.wanted.noun, error)
        if not self.wanted.several:
            return self.hook.renew(leases[0])
        try:
            return self.hook.renew(LeaseSet(tuple(sorted(leases, key=lambda lease: lease.lock_name))))
        except LeaseLost:
            self._give_back(leases)
            raise

    def _lost(self, gone: list[str], left: list[Lease], tokens: Mapping[str, int]) -> LeaseLost:
        """The error that names what was lost and why. One lost is all lost: what is left is given back."""
        self._give_back(left)
        reasons = []
        for name in gone:
            token = f", token {tokens[name]}," if name in tokens else ""
            event = self.hook.last_event(name, self.owner_id)
            metrics.count_loss(name, event)
            reasons.append(f"{name!r}{token} ({f'it was {event}' if event else 'nothing is known of it'})")
        return LeaseLost(
            f"the lease on {' and '.join(reasons)} was lost while the task was deferred", lock_name=gone[0]
        )

    def _give_back(self, leases: list[Lease]) -> None:
        for lease in leases:
            self._release(lease)


def _label(ti: Any) -> str:
    """``dag/run/task[map]#try``: for people, in logs and views."""
    map_index = getattr(ti, "map_index", None)
    mapped = "" if map_index is None or map_index < 0 else f"[{map_index}]"
    parts = (str(getattr(ti, name, None) or "?") for name in ("dag_id", "run_id", "task_id"))
    return f"{'/'.join(parts)}{mapped}#{getattr(ti, 'try_number', None) or 1}"


def _describe(ti: Any, expected_hold: float | None) -> dict[str, Any]:
    names = ("dag_id", "run_id", "task_id", "map_index", "try_number", "log_url")
    known = {name: getattr(ti, name, None) for name in names}
    known |= {"host": socket.gethostname(), "pid": os.getpid()}
    known["expected_hold"] = expected_hold  # the watch tells people when it is held longer
    return {name: value for name, value in known.items() if isinstance(value, str | int | float)}
