"""Waiting on a worker for the last moments before a lock becomes free: the engine's verbs about it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

from airflow_lockprovider.lease.calls import Calls
from airflow_lockprovider.lease.duration import Duration, seconds
from airflow_lockprovider.lease.lease_set import LeaseSet
from airflow_lockprovider.lease.model import Busy, Lease, TicketView

Mode = Literal["auto", "always", "never"]

MOST_READY = 8
"""How many may wait on workers for one lock, however short it is held."""
_FIRST_LOOK = 0.01
"""Seconds to the second look; the pauses double up to poll_interval."""


class StandbyVerbs(Calls):
    """Part of `LeaseEngine`: who waits where. Nothing here grants anything, `confirm` does.

    How long a lock is usually held, and how long a call-up takes, is read from history by the database. A store that
    cannot tell waiters of a change has no standby: its workers would only poll.
    """

    confirm: Callable[..., Any]

    def linger(
        self,
        ticket: int,
        owner_id: str,
        *,
        mode: Mode | None = None,
        expected_hold: Duration | None = None,
        settle: float,
    ) -> float:
        """For how many seconds this worker may wait for its turn where it is. 0: it must leave.

        It pays if the turn comes before the worker could have left and come back, which takes ``settle`` seconds and
        a call-up. From now on the ticket may be called up, unless the mode is "never" (default: the settings').
        """
        mode = mode or self.settings.standby
        if mode == "never" or not self.store.listens:
            return 0.0
        return float(
            self._one(
                "linger",
                ticket=ticket,
                owner_id=owner_id,
                mode=mode,
                expected_hold=None if expected_hold is None else seconds(expected_hold, setting="expected_hold"),
                settle=settle,
                stay=self.settings.standby_limit,
                most=MOST_READY,
                skip_after=self.settings.skip_after,
            )
        )

    def look(self, session_id: str, tickets: Sequence[int], *, unsettled: Collection[int] = ()) -> list[TicketView]:
        """`poll`, which also finds out who should be called up to a worker now: verdict "call".

        Those in ``unsettled`` cannot come yet.
        """
        if not self.store.listens:
            rows = self.store.call(
                "poll", session_id=session_id, tickets=list(tickets), skip_after=self.settings.skip_after
            )
        else:
            rows = self.store.call(
                "look",
                session_id=session_id,
                tickets=list(tickets),
                unsettled=list(unsettled),
                skip_after=self.settings.skip_after,
                reach=self.settings.poll_interval,
                most=MOST_READY,
            )
        return [TicketView(row["ticket"], row["verdict"], row["position"]) for row in rows]

    def call_up(self, ticket: int) -> bool:
        """Call a waiter up to a worker, unless that has been done or must not be. Its place in line stays."""
        return bool(
            self._one(
                "call_up",
                ticket=ticket,
                skip_after=self.settings.skip_after,
                reach=self.settings.poll_interval,
                most=MOST_READY,
                arrives_within=self.settings.handover_ttl,
            )
        )

    def stand_by(
        self,
        ticket: int,
        owner_id: str,
        stay: float,
        *,
        called: bool = False,
        ttl: Duration | None = None,
        context: Mapping[str, Any] | None = None,
        hold_at_least: Duration | None = None,
        several: bool = False,
    ) -> Lease | LeaseSet | Busy | None:
        """Wait here with a ticket, for at most ``stay`` seconds; its place is kept alive meanwhile.

        Busy: the time is over, the place stays. None: the ticket is no more. ``called``: it was called up, so that its
        locks rest from call-ups for a while if this one came to nothing. Whatever ends the wait otherwise (an
        interrupt) leaves the ticket as it is.
        """
        until = self.clock() + stay
        if called and self.store.listens:
            self._one("stand_by", ticket=ticket, owner_id=owner_id, stay=stay)
        listener = self.listener()
        pause = _FIRST_LOOK
        try:
            while True:
                listener.start()  # before the look: what changes after it is heard
                answer: Lease | LeaseSet | Busy | None = self.confirm(
                    ticket, owner_id, ttl=ttl, context=context, hold_at_least=hold_at_least, several=several
                )
                left = until - self.clock()
                if answer or answer is None:
                    return answer
                if left <= 0:
                    rest = 2 * self.settings.standby_limit if called else 0.0
                    self.stand_down(ticket, owner_id, rest=rest)
                    return answer
                # Looks often at first: who gave back just before we listened has told nobody.
                pause = min(2 * pause, self.settings.poll_interval)
                if listener.enabled:
                    listener.wait(min(pause, left), ticket=ticket)
                else:
                    time.sleep(min(pause, left))
        finally:
            listener.close()

    def stand_down(self, ticket: int, owner_id: str, *, rest: float = 0.0) -> None:
        """This worker leaves without the lock; its place in line stays. The locks rest for so many seconds."""
        if self.store.listens:
            self._one("stand_down", ticket=ticket, owner_id=owner_id, rest=rest)

    def set_deferred(self, leases: Sequence[Lease], deferred: bool) -> None:
        """Tell that the holder of these leases has no worker for now, or has one again: a hint for call-ups."""
        if leases and self.store.listens:
            self._one(
                "set_deferred",
                lock_names=[lease.lock_name for lease in leases],
                tokens=[lease.token for lease in leases],
                owner_ids=[lease.owner_id for lease in leases],
                deferred=deferred,
            )

    def unwatch(self, session_id: str, tickets: Sequence[int]) -> None:
        """This process, which goes on polling for others, looks after these tickets no more."""
        self.store.call("unwatch", session_id=session_id, tickets=list(tickets))

    def has_worker(self, owner_id: str, tokens: Mapping[str, int]) -> bool | None:
        """Whether a worker has one of these leases, by lock name and token; None: that is not known here."""
        if not self.store.listens:
            return None
        return bool(
            self._one(
                "has_worker",
                lock_names=list(tokens),
                tokens=list(tokens.values()),
                owner_ids=[owner_id] * len(tokens),
            )
        )
