"""What a dialect has to supply so that the contract can be tested on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import psycopg

from airflow_lockprovider.lease import Lease, LeaseEngine, LeaseSettings, connect
from airflow_lockprovider.lease.engine import Ticket


class Dialect(Protocol):
    """A fresh database with the tables of the locks, and a hand on its clock: nothing here sleeps.

    ``cannot``: tests that do not hold on it, and why.
    """

    name: str
    dsn: str
    cannot: dict[str, str]

    def engine(self, **settings: Any) -> LeaseEngine: ...
    def empty(self) -> None: ...
    def expire(self, lease: Lease) -> None: ...
    def end_hold(self, lock_name: str, token: int) -> None: ...
    def age_waiter(self, ticket: Ticket, seconds: float) -> None: ...
    def query(self, sql: str) -> list[Any]: ...
    def close(self) -> None: ...


class Postgres:
    """The dialect "postgres"."""

    name = "postgres"
    cannot: dict[str, str] = {}

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._engines: list[LeaseEngine] = []
        self._connection = psycopg.connect(dsn, autocommit=True)

    def engine(self, **settings: Any) -> LeaseEngine:
        """An engine with a connection of its own: another process, as far as the database can see."""
        engine = connect(self.dsn, settings=LeaseSettings(**settings))
        self._engines.append(engine)
        return engine

    def empty(self) -> None:
        """Forget all locks: much faster than a new database per test."""
        self._connection.execute(
            "truncate lockprovider.lock, lockprovider.lease, lockprovider.waiter, lockprovider.worker_session,"
            " lockprovider.lease_event, lockprovider.done, lockprovider.alert, lockprovider.alert_occurrence;"
            " drop table if exists public.sales"
        )

    def expire(self, lease: Lease) -> None:
        """Let the lease's time be over."""
        done = self._connection.execute(
            "update lockprovider.lease set expires_at = clock_timestamp() - interval '1 second',"
            " created_at = created_at - interval '1 hour' where lock_name = %s and token = %s",
            (lease.lock_name, lease.token),
        )
        assert done.rowcount == 1

    def end_hold(self, lock_name: str, token: int) -> None:
        """Let the time be over that the lease is held at least."""
        done = self._connection.execute(
            "update lockprovider.lease set hold_until = clock_timestamp() - interval '1 second'"
            " where lock_name = %s and token = %s and hold_until is not null",
            (lock_name, token),
        )
        assert done.rowcount == 1

    def age_waiter(self, ticket: Ticket, seconds: float) -> None:
        """Let the waiter have been looked after for the last time ``seconds`` ago, on all its locks."""
        done = self._connection.execute(
            "update lockprovider.waiter set seen_at = clock_timestamp() - make_interval(secs => %s),"
            " worker_session = null where ticket = %s",
            (seconds, ticket.number),
        )
        assert done.rowcount

    def query(self, sql: str) -> list[Any]:
        """First column of what plain SQL answers (of the user's own tables)."""
        cursor = self._connection.execute(sql)
        return [row[0] for row in cursor.fetchall()] if cursor.description else []

    def close(self) -> None:
        for engine in self._engines:
            engine.close()
        self._connection.close()


class Redshift(Postgres):
    """The dialect "redshift" in Redshift mode: a Postgres without keys, with the functions that Redshift has.

    Snapshots as on Redshift: taken at the first read of a transaction (REPEATABLE READ). GETDATE has whole seconds.
    """

    name = "redshift"
    cannot = {
        "test_asking_again_with_the_same_owner_id_gives_the_same_lease_and_not_a_longer_one": (
            "GETDATE has whole seconds: `remaining` is the same for up to a second"
        ),
        "test_after_that_time_the_lock_is_free": (
            "GETDATE has whole seconds: a hold of a third of a second lasts up to two; see tests/redshift"
        ),
        "test_work_that_takes_longer_is_not_held_up_any_further": (
            "GETDATE has whole seconds: a hold of a hundredth of a second lasts up to two"
        ),
        "test_several_guarded_transactions_of_one_lease_may_be_open": (
            "the guard is a table lock: guarded transactions of one lock wait for each other"
        ),
        "test_terminate_ends_the_sessions_of_the_named_token_alone": (
            "the guard is a table lock: guarded transactions of one lock wait for each other"
        ),
        "test_guards_of_different_leases_do_not_wait_for_each_other": (
            "the guard is a table lock: guarded transactions of one lock wait for each other"
        ),
        "test_a_guard_alone_in_autocommit_is_refused": (
            "there is no function to call; LOCK alone is refused by the server, see tests/redshift"
        ),
        "test_a_guard_inside_a_savepoint_is_refused": "Redshift has no ROLLBACK TO SAVEPOINT",
        "test_the_idle_timeout_of_a_guard_is_half_the_ttl_of_its_own_lease": (
            "Redshift has no idle timeout of a transaction that a session could set"
        ),
        "test_what_has_expired_is_not_adopted_while_its_row_is_locked": "there are no locked rows",
        "test_revoking_does_not_wait_for_the_row_of_a_lease_that_has_expired": "there are no locked rows",
        "test_a_vanished_client_does_not_drain_for_hours": (
            "Redshift has no idle timeout of a transaction that a session could set"
        ),
    }

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self._connection.execute(SHIMS)

    def engine(self, **settings: Any) -> LeaseEngine:
        engine = connect(self.dsn, dialect="redshift", settings=LeaseSettings(**settings))
        self._engines.append(engine)
        return engine

    def empty(self) -> None:
        # The fence tables stay: a lock that is new to the tables finds them.
        self._connection.execute(
            "truncate lockprovider.lock, lockprovider.lease, lockprovider.waiter, lockprovider.worker_session,"
            " lockprovider.lease_event, lockprovider.done, lockprovider.alert, lockprovider.alert_occurrence;"
            " drop table if exists public.sales"
        )

    def expire(self, lease: Lease) -> None:
        self._write(
            "update lockprovider.lease set expires_at = getdate() - interval '2 seconds',"
            " created_at = created_at - interval '1 hour' where lock_name = %s and token = %s",
            (lease.lock_name, lease.token),
        )

    def end_hold(self, lock_name: str, token: int) -> None:
        self._write(
            "update lockprovider.lease set hold_until = getdate() - interval '2 seconds'"
            " where lock_name = %s and token = %s and hold_until is not null",
            (lock_name, token),
        )

    def age_waiter(self, ticket: Ticket, seconds: float) -> None:
        self._write(
            "update lockprovider.waiter set seen_at = getdate() - make_interval(secs => %s),"
            " worker_session = null where ticket = %s",
            (seconds, ticket.number),
        )

    def _write(self, sql: str, values: tuple[Any, ...]) -> None:
        with self._connection.transaction():
            self._connection.execute("lock lockprovider.mutex")  # like everybody who writes
            assert self._connection.execute(sql, values).rowcount


SHIMS = (Path(__file__).parent / "redshift_mode.sql").read_text(encoding="utf-8")

DIALECTS = {"postgres": Postgres, "redshift": Redshift}
