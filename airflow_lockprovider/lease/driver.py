"""What differs between database drivers. The engine speaks DB-API; this is the rest."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from airflow_lockprovider.lease.errors import (
    ConfigurationError,
    LeaseLost,
    LockProviderError,
    SchemaOutdated,
    StoreError,
    StoreUnavailable,
)

Connection = Any
"""A DB-API connection: psycopg (3) or psycopg2. Drivers share no base class."""
ConnectionFactory = Callable[[], Connection]

CONNECT_DEFAULTS: Mapping[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
}
"""How libpq is told to notice a dead network. Where the caller says nothing else."""
WRITABLE: Mapping[str, Any] = {"target_session_attrs": "read-write"}
"""A standby grants nothing."""

log = logging.getLogger(__name__)

_UNAVAILABLE = (
    "08",  # connection exceptions
    "25006",  # read-only transaction
    "40",  # serialization failure, deadlock: the next try may pass
    "53",  # out of connections, memory, disk
    "55P03",  # lock_timeout: somebody else keeps the lock's row
    "57",  # shutdown, cannot connect now, statement cancelled
    "58",  # system error
    "LP503",  # in recovery
)
_ACTIVE = 1  # libpq: PQTRANS_ACTIVE, a statement is under way
_MISSING = ("3F000", "42883", "42P01", "42704")


class LockMissing(LockProviderError):
    """Internal: a lock has no row yet; declare it in a transaction of its own, then ask again."""


def prepare(connection: Connection, *, autocommit: bool) -> Connection:
    """Set a fresh connection up so that it works behind a pooler in transaction mode, without session state."""
    connection.autocommit = autocommit
    if hasattr(connection, "prepare_threshold"):
        connection.prepare_threshold = None  # psycopg would prepare statements on a server it may not see again
    return connection


def execute(connection: Connection, sql: str, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Run one statement and return its rows by column name. Raises errors of this package (see `translated`)."""
    if hasattr(connection, "row_factory"):
        from psycopg.rows import dict_row

        with translated(), connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute(sql, params)
            return [] if cursor.rownumber is None else list(cursor)
    with translated(), plain_cursor(connection) as cursor:
        cursor.execute(sql, params)
        if (columns := cursor.description) is None:
            return []
        names: Sequence[str] = [column[0] for column in columns]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@contextmanager
def plain_cursor(connection: Connection) -> Iterator[Any]:
    """A cursor that yields tuples, whatever cursor class the connection was set up with."""
    if hasattr(connection, "row_factory"):
        from psycopg.rows import tuple_row

        cursor = connection.cursor(row_factory=tuple_row)
    elif hasattr(connection, "cursor_factory"):
        from psycopg2.extensions import cursor as tuple_cursor

        cursor = connection.cursor(cursor_factory=tuple_cursor)
    else:
        cursor = connection.cursor()
    try:
        yield cursor
    finally:
        cursor.close()


@contextmanager
def translated() -> Iterator[None]:
    """Turn a driver's error into one of ours; the driver's stays as the cause."""
    try:
        yield
    except LockProviderError:
        raise
    except Exception as error:
        if (ours := classify(error)) is None:
            raise
        raise ours from error


def classify(error: BaseException) -> LockProviderError | None:
    """The error of this package that a driver's error means; None if it is no error of a database driver."""
    names = {cls.__name__ for cls in type(error).__mro__}
    if "Error" not in names or not names & {"DatabaseError", "InterfaceError"}:
        return None
    # redshift_connector hands the fields of the server's message over as they are.
    fields = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
    code = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or fields.get("C") or ""
    diagnostics = getattr(error, "diag", None)
    text = (
        getattr(diagnostics, "message_primary", None) or fields.get("M") or str(error).strip() or type(error).__name__
    )
    if hint := getattr(diagnostics, "message_hint", None):
        text = f"{text}; {hint}"
    if code == "LP001":
        return ConfigurationError(text)
    if code == "LP404":
        return LockMissing(text)
    if code == "LP409":
        return LeaseLost(text)
    if code == "42501":
        return ConfigurationError(f"{text}: grant the role …_worker of the lock schema to this connection's user")
    if code in _MISSING:
        return SchemaOutdated(f"{text}: the tables or functions of the locks are missing, run: airflow locks init")
    if code.startswith(_UNAVAILABLE) or (not code and names & {"OperationalError", "InterfaceError"}):
        return StoreUnavailable(f"the database with the locks does not serve: {text}")
    return StoreError(text)


def is_broken(connection: Connection) -> bool:
    """Whether the connection can not be used any more."""
    return bool(getattr(connection, "broken", False) or getattr(connection, "closed", False))


def is_active(connection: Connection) -> bool:
    """Whether a statement is still under way: its answer was not waited for."""
    return bool(getattr(getattr(connection, "info", None), "transaction_status", None) == _ACTIVE)


def abandon(connection: Connection) -> None:
    """Undo the open transaction. Raises nothing: the error that led here is the one to tell.

    A statement that still runs (an interrupt came up from under it) is cancelled: else the server would finish it
    first, and keep its locks as long.
    """
    try:
        if is_active(connection):
            connection.cancel()
        else:
            connection.rollback()
    except Exception:
        log.debug("undoing a transaction failed", exc_info=True)


def close(connection: Connection) -> None:
    """Close, whatever state it is in."""
    try:
        connection.close()
    except Exception:
        log.debug("closing a connection failed", exc_info=True)


def hear(connection: Connection, heard: list[str]) -> Callable[[], object]:
    """Collect notifications that arrive beside the answer of a statement too. Returns how to stop that."""
    if not hasattr(connection, "add_notify_handler"):
        return lambda: None  # psycopg2 does so by itself

    def handler(notice: Any) -> None:
        heard.append(notice.payload)

    connection.add_notify_handler(handler)
    return lambda: connection.remove_notify_handler(handler)


def collect(connection: Connection, heard: list[str]) -> None:
    """Add the payloads of all notifications that have arrived, without waiting."""
    try:
        if hasattr(connection, "pgconn") and hasattr(connection, "add_notify_handler"):
            connection.pgconn.consume_input()
            while (notice := connection.pgconn.notifies()) is not None:
                heard.append(notice.extra.decode())
        else:
            connection.poll()
            while connection.notifies:
                heard.append(connection.notifies.pop(0).payload)
    except Exception:
        # A dead connection: whoever asks next finds out, and opens a new one.
        log.debug("reading notifications failed", exc_info=True)
        close(connection)
