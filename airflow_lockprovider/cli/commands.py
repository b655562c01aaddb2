"""What ``airflow locks …`` does. Errors of this package end as one line on stderr, with exit code 1."""

from __future__ import annotations

import functools
from argparse import Namespace
from collections.abc import Callable

from airflow_lockprovider.cli.check import check_locks
from airflow_lockprovider.cli.doctor import doctor as examine
from airflow_lockprovider.cli.environment import server
from airflow_lockprovider.cli.output import print_rows
from airflow_lockprovider.cli.rules import show_rules
from airflow_lockprovider.desk import stats as statistics
from airflow_lockprovider.desk import verbs
from airflow_lockprovider.exceptions import LockProviderError
from airflow_lockprovider.hooks.lease import LeaseHook

PROBLEMS = 3
"""Exit code of a command that looked for something wrong and found it. 1: it failed; 2: its words make no sense."""


def _command(verb: Callable[[Namespace, verbs.Desk], None]) -> Callable[[Namespace], None]:
    def on_hook(args: Namespace) -> None:
        hook = LeaseHook(args.conn_id, schema=args.schema)
        try:
            verb(args, verbs.Desk(hook, "airflow locks", f"connection {hook.lease_conn_id!r}", print_rows))
        finally:
            hook.close()

    return _told(functools.wraps(verb)(on_hook))


def _told(work: Callable[[Namespace], None]) -> Callable[[Namespace], None]:
    """The same, with its ends as exit codes."""

    @functools.wraps(work)
    def run(args: Namespace) -> None:
        try:
            with server():
                work(args)
        except verbs.Found as found:
            raise SystemExit(PROBLEMS) from found
        except (LockProviderError, verbs.Refusal) as error:
            raise SystemExit(f"airflow locks: {' '.join(str(error).split())}") from error

    return run


init = _command(verbs.init)
list_leases = _command(verbs.list_leases)
queue = _command(verbs.queue)
history = _command(verbs.history)
show = _command(verbs.show)
stats = _command(statistics.stats)
check = _command(check_locks)
doctor = _command(examine)
revoke = _command(verbs.revoke)
pause = _command(verbs.pause)
resume = _command(verbs.resume)
set_capacity = _command(verbs.set_capacity)
clean_up = _command(verbs.clean_up)
# It asks no lock database.
rules = _told(show_rules)
