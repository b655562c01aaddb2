"""Where leases are kept: one connection per thread, one call per verb."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from airflow_lockprovider.lease import driver
from airflow_lockprovider.lease.errors import SchemaOutdated, StoreUnavailable
from airflow_lockprovider.lease.statements import Statements, statements
from airflow_lockprovider.lease.watchdog import Watchdog

log = logging.getLogger(__name__)

CALL_LIMIT = 30.0
"""Seconds after which a call to a database that does not answer is cut. Statements give up on locked rows after 10."""


class Store:
    """Named statements of one dialect, on connections from a factory.

    Thread-safe: each thread has its own connection.
    """

    listens = True
    """Whether the database tells waiters that something has changed (LISTEN); else they poll."""

    def __init__(self, connect: driver.ConnectionFactory, *, schema: str, dialect: str = "postgres") -> None:
        self._connect = connect
        self._local = threading.local()
        self._checked = False
        self._watchdog = Watchdog()
        self.sql: Statements = statements(dialect, schema)
        self.schema = schema

    def call(self, name: str, **params: Any) -> list[dict[str, Any]]:
        """Run a named statement in autocommit; once more on a new connection if the old one was dead.

        Verbs are idempotent per owner_id, so that asking again after a lost answer changes nothing.
        """
        own: _Own | None = getattr(self._local, "own", None)
        try:
            return self._call(name, params)
        except StoreUnavailable:
            if own is None or self._local.own is not own or own.usable:
                raise  # it was a new connection, or a living one that said no
            self.close()
            log.info("the connection to the locks broke during %s, asking again on a new one", name)
            return self._call(name, params, again=True)

    def limit_calls(self, seconds: float) -> None:
        """Let calls of this thread take at most this long (never longer than `CALL_LIMIT`)."""
        self._local.limit = min(seconds, CALL_LIMIT)

    def _call(self, name: str, params: dict[str, Any], *, again: bool = False) -> list[dict[str, Any]]:
        connection = self._connection()
        if not self._checked:
            self._check_version(connection)
            self._checked = True
        try:
            with self._watchdog.limit(connection, getattr(self._local, "limit", CALL_LIMIT)):
                return driver.execute(connection, self.sql[name], params | {"again": again})
        except BaseException:
            if driver.is_active(connection):
                # An interrupt came up from under the verb. It must not go on without us, and grant to nobody.
                driver.abandon(connection)
                self.close()
            raise

    @property
    def current(self) -> driver.Connection | None:
        """The calling thread's connection, if it has a living one."""
        own: _Own | None = getattr(self._local, "own", None)
        return own.connection if own is not None and own.usable else None

    def _connection(self) -> driver.Connection:
        own: _Own | None = getattr(self._local, "own", None)
        if own is None or not own.usable:
            self._local.own = None
            self._local.own = own = _Own(self._open(autocommit=True))
        return own.connection

    def _open(self, *, autocommit: bool) -> driver.Connection:
        with driver.translated():
            return driver.prepare(self._connect(), autocommit=autocommit)

    def _check_version(self, connection: driver.Connection) -> None:
        newest = self.sql.migrations[-1][0]
        found = self._installed(connection)
        if found is None or found[0] < newest:
            raise SchemaOutdated(
                f"schema {self.schema!r} has version {found[0] if found else 'none'} of the lock tables, "
                f"this package needs {newest}: run: airflow locks init"
            )
        if found[0] > newest:
            raise SchemaOutdated(
                f"schema {self.schema!r} has version {found[0]} of the lock tables, this package knows {newest}: "
                "upgrade airflow-lockprovider here"
            )

    def _installed(self, connection: driver.Connection) -> tuple[int, str] | None:
        rows = driver.execute(connection, self.sql["installed"])
        return (rows[0]["version"], rows[0]["digest"]) if rows else None

    @contextmanager
    def transaction(self) -> Iterator[driver.Connection]:
        """A connection of its own with autocommit off; committed at the end, rolled back on any error."""
        connection = self._open(autocommit=False)
        try:
            yield connection
            with driver.translated():
                connection.commit()
        except BaseException:
            driver.abandon(connection)
            raise
        finally:
            driver.close(connection)

    def guard_text(self, lock_name: str, token: int) -> str:
        """SQL that fails its transaction unless the lease is still held."""
        quoted = lock_name.replace("'", "''")
        return f"select {self.sql.qualifier}.guard('{quoted}', {token})"

    def fence(self, connection: driver.Connection, lock_names: Sequence[str]) -> None:
        """What a guarded transaction needs before its first `check`. Nothing here; Redshift locks its fence tables."""

    def check(self, connection: driver.Connection, call: Literal["guard", "still_held"], name: str, token: int) -> None:
        """In a guarded transaction: its first statement ("guard"), or the last before COMMIT. Raises LeaseLost."""
        driver.execute(connection, self.sql[call], {"lock_name": name, "token": token})

    def install(self) -> bool:
        """Create or upgrade tables, functions, views and roles, in one transaction. False: nothing was to be done."""
        with self.transaction() as connection:
            driver.execute(connection, self.sql["init_lock"])
            driver.execute(connection, self.sql.script("bootstrap.sql"))
            found = self._installed(connection)
            newest = self.sql.migrations[-1][0]
            if found == (newest, self.sql.digest):
                return False
            if found and found[0] > newest:
                raise SchemaOutdated(
                    f"schema {self.schema!r} has version {found[0]} of the lock tables, this package knows {newest}: "
                    "upgrade airflow-lockprovider here"
                )
            driver.execute(connection, self.sql.script("drop_code.sql"))
            for number, script in self.sql.migrations:
                if found is None or number > found[0]:
                    driver.execute(connection, script)
            for script in self.sql.code:
                driver.execute(connection, script)
            driver.execute(connection, self.sql["record_version"], {"version": newest, "digest": self.sql.digest})
            return True

    def close(self) -> None:
        """Close the calling thread's connection; the next call opens a new one."""
        if (own := getattr(self._local, "own", None)) is not None:
            self._local.own = None
            own.close()


class _Own:
    """The connection of one thread. It ends with its thread at the latest."""

    def __init__(self, connection: driver.Connection) -> None:
        self.connection = connection
        self._pid = os.getpid()

    @property
    def usable(self) -> bool:
        # After a fork the socket is still the parent's: to talk, or to say goodbye, on it would cut in on the parent.
        return self._pid == os.getpid() and not driver.is_broken(self.connection)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        if self._pid == os.getpid():
            driver.close(self.connection)
