"""What a dialect has to supply so that the contract can be tested on it."""

from __future__ import annotations

from typing import Any, Protocol

import psycopg

from airflow_lockprovider.lease import Lease, LeaseEngine, LeaseSettings, connect
from airflow_lockprovider.lease.engine import Ticket


class Dialect(Protocol):
    """A fresh database with the tables of the locks, and a hand on its clock: nothing here sleeps."""

    def engine(self, **settings: Any) -> LeaseEngine: ...
    def empty(self) -> None: ...
    def expire(self, lease: Lease) -> None: ...
    def age_waiter(self, ticket: Ticket, seconds: float) -> None: ...
    def query(self, sql: str) -> list[Any]: ...
    def close(self) -> None: ...


class Postgres:
    """The dialect "postgres"."""

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
            " lockprovider.lease_event; drop table if exists public.sales"
        )

    def expire(self, lease: Lease) -> None:
        """Let the lease's time be over."""
        done = self._connection.execute(
            "update lockprovider.lease set expires_at = clock_timestamp() - interval '1 second',"
            " created_at = created_at - interval '1 hour' where lock_name = %s and token = %s",
            (lease.lock_name, lease.token),
        )
        assert done.rowcount == 1

    def age_waiter(self, ticket: Ticket, seconds: float) -> None:
        """Let the waiter have been looked after for the last time ``seconds`` ago."""
        done = self._connection.execute(
            "update lockprovider.waiter set seen_at = clock_timestamp() - make_interval(secs => %s),"
            " worker_session = null where ticket = %s",
            (seconds, ticket.number),
        )
        assert done.rowcount == 1

    def query(self, sql: str) -> list[Any]:
        """First column of what plain SQL answers (of the user's own tables)."""
        cursor = self._connection.execute(sql)
        return [row[0] for row in cursor.fetchall()] if cursor.description else []

    def close(self) -> None:
        for engine in self._engines:
            engine.close()
        self._connection.close()


DIALECTS = {"postgres": Postgres}
