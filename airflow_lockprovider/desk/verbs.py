"""The commands about locks. What cannot be done is a `Refusal`: one line for the person who asked."""

from __future__ import annotations

import getpass
import os
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from airflow_lockprovider.desk.cells import Row
from airflow_lockprovider.desk.rows import (
    EVENT_COLUMNS,
    LEASE_COLUMNS,
    WAITER_COLUMNS,
    event_row,
    lease_row,
    waiter_row,
)
from airflow_lockprovider.lease.engine import LeaseEngine
from airflow_lockprovider.lease.model import Lease

_RECENT = 20
"""How many events ``show`` prints."""
_FAR_BACK = 1000
"""How many events ``show`` looks through for a pause."""


@dataclass(frozen=True)
class Desk:
    """What a command works with."""

    engine: LeaseEngine
    program: str
    """How its other commands are called: ``airflow locks`` or ``lockprovider``."""
    place: str
    """Which database it is, for people."""
    show: Callable[[Sequence[Row], str, Sequence[str]], None]
    """Prints rows: in this format, and for people only these columns."""


class Refusal(Exception):
    """It was not done, and this is why."""


class Found(Exception):
    """The command did its work, and what it looked for is there: something is wrong, and has been printed."""


def init(args: Namespace, desk: Desk) -> None:
    """Create the lock tables, or upgrade them."""
    changed = desk.engine.init_schema()
    where = f"schema {desk.engine.store.schema!r} of {desk.place}"
    version = desk.engine.store.sql.migrations[-1][0]
    print(f"{where}: lock tables " + ("are now" if changed else "were already") + f" at version {version}")


def list_leases(args: Namespace, desk: Desk) -> None:
    """Print the living leases and reservations."""
    waiting = Counter(waiter.lock_name for waiter in desk.engine.queue(args.lock))
    rows = [lease_row(lease, waiters=waiting[lease.lock_name]) for lease in desk.engine.leases(args.lock)]
    desk.show(rows, args.output, LEASE_COLUMNS)


def queue(args: Namespace, desk: Desk) -> None:
    """Print who waits, in order."""
    desk.show([waiter_row(waiter) for waiter in desk.engine.queue(args.lock)], args.output, WAITER_COLUMNS)


def history(args: Namespace, desk: Desk) -> None:
    """Print what happened, newest first."""
    desk.show([event_row(event) for event in desk.engine.history(args.lock, args.limit)], args.output, EVENT_COLUMNS)


def show(args: Namespace, desk: Desk) -> None:
    """Print leases, queue and latest events of one lock."""
    waiters = desk.engine.queue(args.name)
    leases = [lease_row(lease, waiters=len(waiters)) for lease in desk.engine.leases(args.name)]
    line = [waiter_row(waiter) for waiter in waiters]
    past = desk.engine.history(args.name, _FAR_BACK)
    events = [event_row(event) for event in past[:_RECENT]]
    switch = next((event for event in past if event.event in ("paused", "resumed")), None)
    paused = switch is not None and switch.event == "paused"
    if not (leases or line or events):
        _refuse(f"nothing is known of a lock {args.name!r}: see the names with {desk.program} history")
    if args.output in ("json", "yaml"):
        whole = {"lock": args.name, "paused": paused, "leases": leases, "queue": line, "events": events}
        desk.show([whole], args.output, ())
        return
    if paused and switch is not None:
        print(f"{args.name}: paused by {switch.actor}: {switch.reason}")
        print(f"it is granted to nobody until: {desk.program} resume {args.name}\n")
    for title, rows, columns in (
        ("held by", leases, LEASE_COLUMNS),
        ("in line", line, WAITER_COLUMNS),
        (f"the last {_RECENT} events", events, EVENT_COLUMNS),
    ):
        print(f"{args.name}: {title}" if rows else f"{args.name}: {title}: none\n")
        if rows:
            desk.show(rows, args.output, [column for column in columns if column != "lock"])
            print()


def revoke(args: Namespace, desk: Desk) -> None:
    """Take a lock away, after asking."""
    by = args.by or _this_person()
    tokens: tuple[int | None, ...] = (args.token,)
    if not args.yes:
        shown = [lease for lease in desk.engine.leases(args.name) if args.token in (None, lease.token)]
        _confirm(args.name, shown, terminate=args.terminate)
        # Only what the person has seen, not what was granted while they thought about it.
        tokens = tuple(lease.token for lease in shown) or tokens
    revoked = [
        lease
        for token in tokens
        for lease in desk.engine.revoke(args.name, by, args.reason, token=token, terminate=args.terminate)
    ]
    for lease in revoked:
        print(f"revoked: {lease}")
    if args.terminate:
        print(f"ended: database sessions with an open guarded transaction on {args.name!r}, if there were any")
    elif not revoked:
        _refuse(_nothing_to_revoke(args))


def pause(args: Namespace, desk: Desk) -> None:
    """Stop grants of a lock."""
    if not desk.engine.pause(args.name, args.by or _this_person(), args.reason):
        _refuse(f"there is no lock {args.name!r} to pause: see the names with {desk.program} history")
    print(f"paused: {args.name!r} is granted to nobody until: {desk.program} resume {args.name}")


def resume(args: Namespace, desk: Desk) -> None:
    """End a pause."""
    if not desk.engine.resume(args.name, args.by or _this_person()):
        _refuse(f"lock {args.name!r} is not paused")
    print(f"resumed: {args.name!r}")


def set_capacity(args: Namespace, desk: Desk) -> None:
    """Change the capacity of a lock."""
    desk.engine.set_capacity(args.name, args.capacity)
    print(f"set: {args.name!r} has capacity {args.capacity}")


def clean_up(args: Namespace, desk: Desk) -> None:
    """Remove what is over."""
    print(f"cleaned up: {desk.engine.clean_up()} leases and waiters")


def _confirm(name: str, leases: list[Lease], *, terminate: bool) -> None:
    if not sys.stdin.isatty():
        _refuse("revoke asks before it acts, and nobody is here to answer: add --yes")
    for lease in leases:
        print(lease)
    owners = "1 owner" if len(leases) == 1 else f"{len(leases)} owners"
    what = f"take {name!r} away from {owners}" + (" and end their transactions" if terminate else "")
    if input(f"{what}? [y/N] ").strip().lower() not in ("y", "yes"):
        _refuse("nothing was revoked")


def _nothing_to_revoke(args: Namespace) -> str:
    which = "" if args.token is None else f" under token {args.token}"
    return f"nobody holds lock {args.name!r}{which}: nothing was revoked"


def _this_person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return f"uid {os.getuid()}"


def _refuse(text: str) -> NoReturn:
    raise Refusal(" ".join(text.split()))
