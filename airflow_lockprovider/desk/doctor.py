"""``doctor``: does everything that the locks need work, and if not, what to do. What the database can tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from airflow_lockprovider.lease import driver
from airflow_lockprovider.lease.engine import LeaseEngine
from airflow_lockprovider.lease.errors import LockProviderError, SchemaOutdated

Result = Literal["ok", "warning", "wrong"]
Row = dict[str, Any]

_VIEWS = frozenset({"locks", "lock_queue", "lock_stats", "lock_owners", "lock_events"})
_WORK = frozenset(
    {"try_acquire", "enqueue", "poll", "reserve", "confirm", "withdraw", "renew", "release", "adopt", "guard"}
)
_STEER = frozenset({"revoke", "pause", "resume", "set_capacity"})
_CLOCK = 5.0
"""Seconds by which clocks may differ before logs become hard to read."""
_SLOW = 1.0
"""Seconds for one question."""
_SHORT = 15_000
"""Milliseconds: statements of the locks wait for a locked row for up to 10 s."""
_FULL = 0.9
_DOCTOR = "lockprovider.doctor\n"
"""A notification that concerns no lock and no ticket: waiters do not even look."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    result: Result
    text: str
    todo: str = ""


def examine(engine: LeaseEngine, program: str) -> Iterator[Finding]:
    """Look at the database of the locks, through the connection that the locks use. Changes nothing."""
    started, wall = time.monotonic(), datetime.now(UTC)
    try:
        with engine.store.transaction() as connection:
            opened = time.monotonic() - started
            server = driver.execute(connection, engine.store.sql["doctor_server"])[0]
            took = time.monotonic() - started
            own_pid = getattr(getattr(connection, "info", None), "backend_pid", None)
    except Exception as error:
        yield _no_connection(error)
        return
    yield Finding(
        "connection",
        "ok" if took < _SLOW else "warning",
        f"as {server['user_name']!r} to {_version(server)}; opened in {opened * 1000:.0f} ms",
        "" if took < _SLOW else "every locked task opens one: look for a slow name server, TLS or network",
    )
    yield _clock(server["now"], wall, took)
    tables = _tables(engine, program)
    yield tables
    if not engine.store.listens:
        yield Finding("wake-up", "ok", "Redshift has no notifications: waiters poll")
        return
    yield from _writable(server)
    yield from _limits(server)
    yield from _guarded(lambda: _rights(engine, server["user_name"]), "rights")
    if tables.result == "ok":
        pooled = own_pid is not None and own_pid != server["pid"]
        yield from _guarded(lambda: _wake_up(engine, pooled=pooled), "wake-up")


def _no_connection(error: Exception) -> Finding:
    text = " ".join(str(error).split())
    if any(word in text for word in ("read-write", "read-only", "recovery")):
        return Finding("connection", "wrong", text, "this is a standby: let the connection lead to the primary server")
    todo = "" if ": " in text and isinstance(error, LockProviderError) else "see the message: host, port, user, network"
    return Finding("connection", "wrong", text or type(error).__name__, todo)


def _clock(now: datetime, wall: datetime, took: float) -> Finding:
    now = now if now.tzinfo else now.replace(tzinfo=UTC)
    apart = abs((now - wall).total_seconds() - took)
    text = f"the database's clock and this machine's are {apart:.1f} s apart"
    if apart <= _CLOCK + took:
        return Finding("clock", "ok", text)
    return Finding(
        "clock", "warning", text, "leases are safe (the database's clock decides), but logs mislead: use NTP"
    )


def _tables(engine: LeaseEngine, program: str) -> Finding:
    newest = engine.store.sql.migrations[-1][0]
    schema = engine.store.schema
    try:
        engine.leases("lockprovider.doctor")
    except LockProviderError as error:
        text = " ".join(str(error).split())
        return Finding("tables", "wrong", text, f"{program} init" if isinstance(error, SchemaOutdated) else "")
    return Finding("tables", "ok", f"schema {schema!r} has version {newest}, as this package needs")


def _writable(server: Row) -> Iterator[Finding]:
    if server["in_recovery"] or server["read_only"]:
        yield Finding(
            "server", "wrong", "it is a standby, or read-only", "let the connection lead to the primary server"
        )
    else:
        yield Finding("server", "ok", "it takes writes")


def _rights(engine: LeaseEngine, user: str) -> Iterator[Finding]:
    with engine.store.transaction() as connection:
        may = {row["name"]: row["may"] for row in driver.execute(connection, engine.store.sql["doctor_rights"])}
        missing = driver.execute(connection, engine.store.sql["missing_roles"])[0]["roles"]
    schema = engine.store.schema
    if not may:
        return  # no tables: told already
    usable = may.get(":schema", False)
    can = {
        what: usable and all(may.get(name, False) for name in names)
        for what, names in {"look": _VIEWS, "take locks": _WORK, "revoke and pause": _STEER}.items()
    }
    allowed = ", ".join(what for what, yes in can.items() if yes) or "nothing"
    if can["take locks"] and can["look"]:
        yield Finding("rights", "ok", f"{user!r} may {allowed}")
    else:
        yield Finding("rights", "wrong", f"{user!r} may {allowed}", f"grant {schema}_worker to {user}")
    if missing:
        yield Finding(
            "roles", "warning", f"these roles are missing: {missing}", "let a database administrator run init"
        )


def _wake_up(engine: LeaseEngine, *, pooled: bool) -> Iterator[Finding]:
    if not engine.settings.listen:
        yield Finding("wake-up", "ok", f"listen is off: waiters look every {engine.settings.poll_interval:g} s")
        return
    listener = engine.listener()
    try:
        listener.start()
        with engine.store.transaction() as connection:
            driver.execute(connection, engine.store.sql["doctor_notify"], {"payload": _DOCTOR})
        heard = listener.wait(2.0, names=["lockprovider.doctor"])
    finally:
        listener.close()
    if heard:
        yield Finding(
            "wake-up", "ok", "a notification of the database arrives" + (", through a pooler" if pooled else "")
        )
        return
    where = "there is a pooler in between (transaction mode?)" if pooled else "no notification arrives"
    yield Finding(
        "wake-up",
        "warning",
        f"{where}: waiters are not woken, they look every {engine.settings.poll_interval:g} s",
        "connect directly for a fast hand-over, or set listen = False in section lockprovider",
    )


def _limits(server: Row) -> Iterator[Finding]:
    limit, used, most = server["statement_timeout"], server["connections"], server["max_connections"]
    if 0 < limit < _SHORT:
        yield Finding(
            "statement_timeout",
            "warning",
            f"this user's statements end after {limit / 1000:g} s; those of the locks may wait 10 s for a row",
            "raise statement_timeout for this user to 15 s or more",
        )
    full = used > most * _FULL
    yield Finding(
        "connections",
        "warning" if full else "ok",
        f"{used} of {most} are in use",
        "a triggerer needs 2, a locked task 1 while it runs (2 while it keeps): raise max_connections" if full else "",
    )


def _version(server: Mapping[str, Any]) -> str:
    version = str(server["server_version"])
    return "Redshift" if "redshift" in version.lower() else f"Postgres {version}"


def _guarded(look: Callable[[], Iterator[Finding]], check: str) -> Iterator[Finding]:
    """One look; if it fails that is a finding, and the others go on."""
    try:
        yield from look()
    except Exception as error:
        yield Finding(check, "wrong", " ".join(str(error).split()) or type(error).__name__)
