"""`lockprovider exec`: run a command while holding a lock."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
import uuid
from argparse import Namespace
from collections.abc import Callable
from errno import ENOENT

from airflow_lockprovider.lease.duration import seconds
from airflow_lockprovider.lease.engine import LeaseEngine
from airflow_lockprovider.lease.errors import ConfigurationError, LeaseLost, LeaseWaitTimeout, StoreError
from airflow_lockprovider.lease.lock import Lock
from airflow_lockprovider.lease.model import Lease
from airflow_lockprovider.lease.settings import LeaseSettings
from airflow_lockprovider.shell import exit_codes
from airflow_lockprovider.shell.command import CommandError
from airflow_lockprovider.shell.signals import Signals, Stopped
from airflow_lockprovider.shell.supervision import Supervision
from airflow_lockprovider.shell.voice import Voice

_WAIT = 60.0
"""Seconds, where --wait is not given and the lock is to be waited for."""
_GRACE = 10.0
"""Seconds from SIGTERM to SIGKILL, where --grace is not given; less for a short ttl."""
_LONGEST_GRACE = 0.35
"""Share of the ttl. The command has to be gone before the lease is, also when the database does not answer."""

Connect = Callable[[LeaseSettings], LeaseEngine]


def execute(args: Namespace, connect: Connect, voice: Voice) -> int:
    """Acquire, run, give back. Returns the exit code."""
    lock, wait, grace, settings = _read(args)
    if shutil.which(args.words[0]) is None and not os.path.exists(args.words[0]):
        voice.say(f"{args.words[0]}: there is no such command; the lock was not asked for")
        return exit_codes.NOT_FOUND
    engine = connect(settings)
    owner_id = str(uuid.uuid4())
    with Signals() as signals:
        try:
            if args.once_key is not None and (done := engine.done(lock.name, args.once_key)):
                voice.mention(f"nothing to do: {done}")
                return int(args.once_exit)
            lease = _acquire(engine, lock, wait, owner_id, args)
            if args.once_key is not None and (done := engine.check_once(lease, args.once_key)):
                engine.release(lease)
                voice.mention(f"nothing to do: {done}")
                return int(args.once_exit)
        except LeaseWaitTimeout as error:
            skip = args.on_busy == "skip"
            (voice.mention if skip else voice.say)(f"{'skipped' if skip else 'not started'}: {error}")
            return 0 if skip else exit_codes.BUSY
        except StoreError:
            raise
        except BaseException as error:
            # A signal may come up between the grant and our knowing of it.
            _give_back_all(engine, owner_id, voice)
            if isinstance(error, Stopped):
                return _stopped(error, voice)
            raise
        return _run(args, engine, lease, grace, signals, voice)


def _read(args: Namespace) -> tuple[Lock, float | None, float, LeaseSettings]:
    lock = Lock(
        args.name,
        ttl=args.ttl,
        units=args.units,
        capacity=args.capacity,
        shared=args.shared,
        priority=args.priority,
        on_busy=args.on_busy,
        hold_at_least=args.hold_at_least,
    )
    wait: float | None
    if args.wait is None:
        wait = _WAIT if args.on_busy == "wait" else 0.0
    elif args.wait == "forever":
        wait = None
    else:
        wait = 0.0 if args.wait.strip() in ("0", "0s") else seconds(args.wait, setting="--wait")
    ttl = LeaseSettings().ttl if lock.ttl is None else float(lock.ttl)  # type: ignore[arg-type]  # made seconds by Lock
    longest = ttl * _LONGEST_GRACE
    grace = min(_GRACE, ttl / 5) if args.grace is None else seconds(args.grace, setting="--grace")
    if grace > longest:
        raise ConfigurationError(
            f"--grace {args.grace!r} must be at most {longest:g} s, {_LONGEST_GRACE:g} of the ttl of {ttl:g} s: "
            "the command has to be gone before somebody else gets the lock; raise --ttl"
        )
    # The keeper gives up so early that the grace is over before the lease is.
    settings = LeaseSettings(ttl=ttl, safety_margin=max(0.1, grace * 1.25 / ttl))
    return lock, wait, grace, settings


def _acquire(engine: LeaseEngine, lock: Lock, wait: float | None, owner_id: str, args: Namespace) -> Lease:
    # Of the command only its name: its words may hold secrets, and the history is read by many.
    context = {"command": os.path.basename(args.words[0]), "host": socket.gethostname(), "pid": os.getpid()}
    return engine.acquire(lock, wait, owner_id=owner_id, owner=args.owner, context=context)


def _run(args: Namespace, engine: LeaseEngine, lease: Lease, grace: float, signals: Signals, voice: Voice) -> int:
    lost: str | None = None
    try:
        engine.close()  # a connection that would lie idle while the command runs
        with Supervision(args.words, _environment(lease), engine, lease, grace, signals, voice) as supervision:
            code = supervision.wait()
            if code == 0 and args.once_key is not None and not supervision.loss:
                _record(engine, supervision, args.once_key)
        lost = supervision.loss
    except Stopped as error:  # a moment before the command
        code = _stopped(error, voice)
    except CommandError as error:
        voice.say(str(error))
        code = exit_codes.NOT_FOUND if error.errno == ENOENT else exit_codes.CANNOT_EXECUTE
    except OSError as error:
        voice.say(f"{args.words[0]} cannot be started: {error}")
        code = exit_codes.CANNOT_EXECUTE
    except LeaseLost as error:
        lost = str(error)
    except StoreError as error:
        voice.say(f"the command has succeeded, but that cannot be recorded: {error}")
        code = exit_codes.UNAVAILABLE
    finally:
        gone = _give_back(engine, lease, voice)
    if lost or gone:
        voice.say(f"{lost or gone}; the command's result does not count")
        return exit_codes.LOST
    return code


def _stopped(error: Stopped, voice: Voice) -> int:
    voice.say(f"not started: ended by {signal.Signals(error.number).name}")
    return exit_codes.SIGNALLED + error.number


def _record(engine: LeaseEngine, supervision: Supervision, key: str) -> None:
    """Say that the work is done, as long as the lease is kept. Raises LeaseLost, or StoreError if it cannot be said."""
    while True:
        try:
            engine.mark_done(supervision.lease, key)
            return
        except StoreError:
            if supervision.loss:
                raise
            time.sleep(0.5)


def _environment(lease: Lease) -> dict[str, str]:
    told = {"LEASE_NAME": lease.lock_name, "LEASE_TOKEN": str(lease.token)}
    return {
        **os.environ,
        **{f"{prefix}_{name}": value for prefix in ("AIRFLOW", "LOCKPROVIDER") for name, value in told.items()},
        "LOCKPROVIDER_LEASE_OWNER_ID": lease.owner_id,
        "LOCKPROVIDER_LEASE_GUARD": lease.guard,
    }


def _give_back(engine: LeaseEngine, lease: Lease, voice: Voice) -> str | None:
    """Release. Returns why the lease was gone already, if it was."""
    try:
        if engine.release(lease):
            return None
        # The answer to a first try may have been lost.
        event = engine.last_event(lease.lock_name, lease.owner_id)
    except StoreError as error:
        voice.say(f"{lease} could not be released, it ends by itself within {lease.ttl:g} s: {error}")
        return None
    finally:
        engine.close()
    return None if event == "released" else f"{lease} was lost: it was {event or 'forgotten'}"


def _give_back_all(engine: LeaseEngine, owner_id: str, voice: Voice) -> None:
    try:
        for lease in engine.leases(owner_id=owner_id):
            engine.release(lease)
        engine.close()
    except StoreError:
        pass  # the first error is the one to tell; a lease ends by itself
