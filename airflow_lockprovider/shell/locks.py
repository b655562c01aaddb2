"""The commands that `lockprovider` shares with `airflow locks`, and those about once keys."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

from airflow_lockprovider.desk import check as checking
from airflow_lockprovider.desk import verbs
from airflow_lockprovider.desk.report import doctor
from airflow_lockprovider.desk.stats import stats
from airflow_lockprovider.desk.watch import Thresholds
from airflow_lockprovider.lease.duration import seconds


def clean_up(args: Namespace, desk: verbs.Desk) -> None:
    """Remove what is over, and once keys of long ago if that is asked for."""
    age = None if args.done_before is None else seconds(args.done_before, setting="--done-before")
    verbs.clean_up(args, desk)
    if age is not None:
        print(f"forgotten: {desk.engine.prune_done(age)} once keys")


def forget(args: Namespace, desk: verbs.Desk) -> None:
    """Let the work of a once key run again."""
    if not desk.engine.forget_done(args.name, args.once_key):
        raise verbs.Refusal(f"nothing is recorded as done under the key {args.once_key!r} of lock {args.name!r}")
    print(f"forgotten: {args.once_key!r} of lock {args.name!r} may run again")


def check(args: Namespace, desk: verbs.Desk) -> None:
    """What is wrong. How the owners are, nobody is asked here: that knows only Airflow."""
    checking.check(args, desk, Thresholds())


COMMANDS: dict[str, Callable[[Namespace, verbs.Desk], None]] = {
    "init": verbs.init,
    "upgrade": verbs.init,
    "list": verbs.list_leases,
    "queue": verbs.queue,
    "history": verbs.history,
    "show": verbs.show,
    "stats": stats,
    "check": check,
    "doctor": doctor,
    "revoke": verbs.revoke,
    "pause": verbs.pause,
    "resume": verbs.resume,
    "set": verbs.set_capacity,
    "clean-up": clean_up,
    "forget": forget,
}
