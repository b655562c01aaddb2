"""One transaction under the mutex: what it reads, decides and writes is seen by nobody else before its COMMIT."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_lockprovider.lease import driver
from airflow_lockprovider.lease.errors import StoreError
from airflow_lockprovider.lease.redshift.fence import fence_table, lock_key
from airflow_lockprovider.lease.redshift.session import Row, Session

_TIMES = ("created_at", "renewed_at", "expires_at", "start_by", "hold_until", "seen_at", "session_seen_at")
LIVING = ("held", "reserved")
MARGIN = timedelta(seconds=1)
"""GETDATE has whole seconds: a lease is over for its owner at its time, and free for others one second later."""


class FenceNeeded(Exception):
    """Internal: dead leases of these locks can only be removed by a transaction that holds their fences."""

    def __init__(self, lock_names: Collection[str]) -> None:
        super().__init__(*lock_names)
        self.lock_names = frozenset(lock_names)


class Transaction:
    """The rows of some locks, and the statements that change them.

    ``fences`` are the locks whose fence is held: their dead leases can be removed, no guarded transaction is open.
    ``draining`` says that a fence was asked for in vain: dead leases stay, and count. Times are naive, in UTC.
    """

    def __init__(self, session: Session, *, fences: Collection[str] = (), draining: bool = False) -> None:
        self._session, self.fences, self.draining = session, fences, draining
        (moment,) = self._once(session.run("moment"), "counter")
        self.now: datetime = naive(moment["now"])
        self._counted = {name: int(moment[name]) for name in ("ticket", "event", "token")}
        self._before = dict(self._counted)
        self.locks: dict[str, Row] = {}
        self.leases: list[Row] = []
        self.waiters: list[Row] = []

    def run(self, name: str, **params: Any) -> list[Row]:
        return self._session.run(name, **params)

    def finish(self) -> None:
        """The last write before COMMIT."""
        if self._counted != self._before:
            self.run("count", **self._counted)

    def load(self, lock_names: Iterable[str]) -> None:
        """Read all rows of these locks; later calls see what this transaction has changed."""
        names = sorted(set(lock_names))
        if not names:
            return
        rows = self._once(self.run("locks", lock_names=names), "lock", by="lock_name")
        self.locks = {row["lock_name"]: row for row in rows}
        self.leases = sorted(self.run("leases_of", lock_names=names), key=lambda row: (row["lock_name"], row["token"]))
        self.waiters = sorted(
            self.run("waiters_of", lock_names=names), key=lambda row: (-row["priority"], row["ticket"])
        )
        for row in self.leases + self.waiters:
            for column in (
                "created_at",
                "renewed_at",
                "expires_at",
                "start_by",
                "hold_until",
                "seen_at",
                "session_seen_at",
            ):
                if row.get(column) is not None:
                    row[column] = naive(row[column])
        self._once(self.leases, "lease", by="token")

    def _once(self, rows: list[Row], table: str, by: str = "now") -> list[Row]:
        # There are no keys, so this is the only place where a row that is there twice shows.
        seen = [row[by] for row in rows]
        if len(set(seen)) != len(seen) or (table == "counter" and len(rows) != 1):
            raise StoreError(
                f"table {self._session.sql.schema}.{table} has a row twice or none ({seen}): something wrote it "
                "without LOCK mutex. Nothing is granted until a person has repaired it"
            )
        return rows

    # What is

    def leases_of(self, lock_name: str) -> list[Row]:
        return [row for row in self.leases if row["lock_name"] == lock_name]

    def living(self, lease: Row) -> bool:
        """Whether it still is its owner's."""
        return lease["state"] in LIVING and lease["expires_at"] > self.now

    # What changes

    def declare(self, lock_name: str, capacity: int) -> None:
        self.run("new_lock", lock_name=lock_name, lock_key=lock_key(lock_name), capacity=capacity, now=self.now)
        self.run("make_fence", fence=fence_table(lock_name))

    def next_ticket(self) -> int:
        self._counted["ticket"] += 1
        return self._counted["ticket"]

    def next_token(self, lock_name: str) -> int:
        """Never the same twice in the schema, and at least the clock's milliseconds: it grows over restores too."""
        clock = int(self.now.replace(tzinfo=UTC).timestamp() * 1000)
        token = max(self._counted["token"] + 1, int(self.locks[lock_name]["last_token"]) + 1, clock)
        self._counted["token"] = self.locks[lock_name]["last_token"] = token
        self.run("last_token", lock_name=lock_name, token=token)
        return token

    def end(self, lease: Row, state: str, event: str, **said: Any) -> None:
        """Set the state; who removes the row is another question."""
        self.run("lease_state", lock_name=lease["lock_name"], token=lease["token"], state=state)
        lease["state"] = state
        until = min(self.now, lease["expires_at"]) if state == "expired" else self.now
        self.log(event, lease, held=(until - lease["created_at"]).total_seconds(), **said)

    def sweep(self, lock_names: Iterable[str]) -> None:
        """Mark what has expired, remove what is over. Raises FenceNeeded if that takes a fence that is not held."""
        dead: list[Row] = []
        for lease in [row for name in lock_names for row in self.leases_of(name)]:
            if lease["state"] in LIVING and lease["expires_at"] + MARGIN <= self.now:
                self.end(lease, "expired", "expired" if lease["start_by"] is None else "lapsed")
            if lease["state"] not in LIVING and not self.kept(lease):
                dead.append(lease)
        # What was never more than a reservation has never passed a guard, so nothing can be open under it.
        guarded = {row["lock_name"] for row in dead if row["start_by"] is None} - set(self.fences)
        if guarded and not self.draining:
            raise FenceNeeded(guarded)
        for lease in dead:
            if lease["lock_name"] not in guarded or lease["start_by"] is not None:
                self.remove(lease)

    def take(self, lease: Row) -> None:
        """Let the lease be over, and keep its units for another owner as long as `hold_until` says."""
        lease["state"] = "released"
        names = ("lock_name", "token", "owner_id", "hold_until")
        self.run("lease_taken", **{name: lease[name] for name in names})

    def end_hold(self, lease: Row) -> None:
        """What was to be held at least for a while ends now."""
        if lease["hold_until"] is not None:
            lease["hold_until"] = None
            self.run("hold_ended", lock_name=lease["lock_name"], token=lease["token"])

    def kept(self, lease: Row) -> bool:
        """Whether its units stay taken although it is over."""
        return lease["hold_until"] is not None and lease["hold_until"] + MARGIN > self.now

    def remove(self, lease: Row) -> None:
        self.run("remove_lease", lock_name=lease["lock_name"], token=lease["token"])
        self.leases.remove(lease)

    def insert(self, lease: Row) -> None:
        """Write a new lease, and read it back: without keys, this is what says that we are alone."""
        self.run("new_lease", lock_key=lock_key(lease["lock_name"]), session_id=lease["worker_session"], **{
            name: value for name, value in lease.items() if name != "worker_session"
        })  # fmt: skip
        self.leases.append(lease)
        expected = sorted(row["token"] for row in self.leases_of(lease["lock_name"]))
        there = sorted(row["token"] for row in self.run("read_back", lock_name=lease["lock_name"]))
        if there != expected:
            raise StoreError(
                f"lock {lease['lock_name']!r} has the leases {there}, expected {expected}: something wrote them "
                "without LOCK mutex. Nothing was granted"
            )

    def log(self, event: str, row: Row, **said: Any) -> None:
        """One line of history about a lease or a waiter."""
        self._counted["event"] += 1
        facts = {name: row.get(name) for name in ("token", "ticket", "units", "waited", "context")}
        told = {"held": None, "actor": None, "reason": None, **facts, **said}
        self.run(
            "new_event",
            event_id=self._counted["event"],
            at=self.now,
            lock_name=row["lock_name"],
            owner_id=row.get("owner_id", ""),
            owner=row.get("owner", ""),
            event=event,
            **told,
        )


def naive(moment: datetime) -> datetime:
    """In UTC, without saying so."""
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def missing(lock_names: Iterable[str]) -> driver.LockMissing:
    return driver.LockMissing(f"lock {sorted(lock_names)} has no row yet: call declare first, in its own transaction")
