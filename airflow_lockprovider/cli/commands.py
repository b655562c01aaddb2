"""What ``airflow locks …`` does. Errors of this package end as one line on stderr, with exit code 1."""

from __future__ import annotations

import functools
import getpass
import os
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from airflow_lockprovider.cli.output import print_rows
from airflow_lockprovider.cli.rows import (
    EVENT_COLUMNS,
    LEASE_COLUMNS,
    WAITER_COLUMNS,
    event_row,
    lease_row,
    waiter_row,
)
from airflow_lockprovider.exceptions import LockProviderError
from airflow_lockprovider.hooks.lease import LeaseHook
from airflow_lockprovider.lease.model import Lease

_RECENT = 20
"""How many events ``show`` prints."""
_FAR_BACK = 1000
"""How many events ``show`` looks through for a pause."""


def _command(function: Callable[[Namespace, LeaseHook], None]) -> Callable[[Namespace], None]:
    @functools.wraps(function)
    def run(args: Namespace) -> None:
        try:
            with _server_connections():
                hook = LeaseHook(args.conn_id, schema=args.schema)
                try:
                    function(args, hook)
                finally:
                    hook.close()
        except LockProviderError as error:
            _fail(str(error))

    return run


@_command
def init(args: Namespace, hook: LeaseHook) -> None:
    """Create the lock tables, or upgrade them."""
    changed = hook.init_schema()
    where = f"schema {hook.store.schema!r} of connection {hook.lease_conn_id!r}"
    version = hook.store.sql.migrations[-1][0]
    print(f"{where}: lock tables " + ("are now" if changed else "were already") + f" at version {version}")


@_command
def list_leases(args: Namespace, hook: LeaseHook) -> None:
    """Print the living leases and reservations."""
    waiting = Counter(waiter.lock_name for waiter in hook.queue(args.lock))
    rows = [lease_row(lease, waiters=waiting[lease.lock_name]) for lease in hook.leases(args.lock)]
    print_rows(rows, args.output, columns=LEASE_COLUMNS)


@_command
def queue(args: Namespace, hook: LeaseHook) -> None:
    """Print who waits, in order."""
    print_rows([waiter_row(waiter) for waiter in hook.queue(args.lock)], args.output, columns=WAITER_COLUMNS)


@_command
def history(args: Namespace, hook: LeaseHook) -> None:
    """Print what happened, newest first."""
    print_rows([event_row(event) for event in hook.history(args.lock, args.limit)], args.output, columns=EVENT_COLUMNS)


@_command
def show(args: Namespace, hook: LeaseHook) -> None:
    """Print leases, queue and latest events of one lock."""
    waiters = hook.queue(args.name)
    leases = [lease_row(lease, waiters=len(waiters)) for lease in hook.leases(args.name)]
    line = [waiter_row(waiter) for waiter in waiters]
    past = hook.history(args.name, _FAR_BACK)
    events = [event_row(event) for event in past[:_RECENT]]
    switch = next((event for event in past if event.event in ("paused", "resumed")), None)
    paused = switch is not None and switch.event == "paused"
    if not (leases or line or events):
        _fail(f"nothing is known of a lock {args.name!r}: see the names with airflow locks history")
    if args.output in ("json", "yaml"):
        whole = {"lock": args.name, "paused": paused, "leases": leases, "queue": line, "events": events}
        print_rows([whole], args.output, columns=())
        return
    if paused and switch is not None:
        print(f"{args.name}: paused by {switch.actor}: {switch.reason}")
        print(f"it is granted to nobody until: airflow locks resume {args.name}\n")
    for title, rows, columns in (
        ("held by", leases, LEASE_COLUMNS),
        ("in line", line, WAITER_COLUMNS),
        (f"the last {_RECENT} events", events, EVENT_COLUMNS),
    ):
        print(f"{args.name}: {title}" if rows else f"{args.name}: {title}: none\n")
        if rows:
            print_rows(rows, args.output, columns=[column for column in columns if column != "lock"])
            print()


@_command
def revoke(args: Namespace, hook: LeaseHook) -> None:
    """Take a lock away, after asking."""
    by = args.by or _this_person()
    tokens: tuple[int | None, ...] = (args.token,)
    if not args.yes:
        shown = [lease for lease in hook.leases(args.name) if args.token in (None, lease.token)]
        _confirm(args.name, shown, terminate=args.terminate)
        # Only what the person has seen, not what was granted while they thought about it.
        tokens = tuple(lease.token for lease in shown) or tokens
    revoked = [
        lease
        for token in tokens
        for lease in hook.revoke(args.name, by, args.reason, token=token, terminate=args.terminate)
    ]
    for lease in revoked:
        print(f"revoked: {lease}")
    if args.terminate:
        print(f"ended: database sessions with an open guarded transaction on {args.name!r}, if there were any")
    elif not revoked:
        _fail(_nothing_to_revoke(args))


@_command
def pause(args: Namespace, hook: LeaseHook) -> None:
    """Stop grants of a lock."""
    if not hook.pause(args.name, args.by or _this_person(), args.reason):
        _fail(f"there is no lock {args.name!r} to pause: see the names with airflow locks history")
    print(f"paused: {args.name!r} is granted to nobody until: airflow locks resume {args.name}")


@_command
def resume(args: Namespace, hook: LeaseHook) -> None:
    """End a pause."""
    if not hook.resume(args.name, args.by or _this_person()):
        _fail(f"lock {args.name!r} is not paused")
    print(f"resumed: {args.name!r}")


@_command
def set_capacity(args: Namespace, hook: LeaseHook) -> None:
    """Change the capacity of a lock."""
    hook.set_capacity(args.name, args.capacity)
    print(f"set: {args.name!r} has capacity {args.capacity}")


@_command
def clean_up(args: Namespace, hook: LeaseHook) -> None:
    """Remove what is over."""
    print(f"cleaned up: {hook.clean_up()} leases and waiters")


@contextmanager
def _server_connections() -> Iterator[None]:
    """Let connections come from the metadata database too, as in Airflow's own commands.

    Without this word Airflow 3 takes a process of unknown kind for one that may not read that database, and looks
    into environment variables and the secrets backend only.
    """
    name = "_AIRFLOW_PROCESS_CONTEXT"
    before = os.environ.get(name)
    os.environ[name] = "server"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _confirm(name: str, leases: list[Lease], *, terminate: bool) -> None:
    if not sys.stdin.isatty():
        _fail("revoke asks before it acts, and nobody is here to answer: add --yes")
    for lease in leases:
        print(lease)
    owners = "1 owner" if len(leases) == 1 else f"{len(leases)} owners"
    what = f"take {name!r} away from {owners}" + (" and end their transactions" if terminate else "")
    if input(f"{what}? [y/N] ").strip().lower() not in ("y", "yes"):
        _fail("nothing was revoked")


def _nothing_to_revoke(args: Namespace) -> str:
    which = "" if args.token is None else f" under token {args.token}"
    return f"nobody holds lock {args.name!r}{which}: nothing was revoked"


def _this_person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return f"uid {os.getuid()}"


def _fail(text: str) -> NoReturn:
    raise SystemExit(f"airflow locks: {' '.join(text.split())}")
