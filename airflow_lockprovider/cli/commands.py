"""What ``airflow locks …`` does. Errors of this package end as one line on stderr, with exit code 1."""

from __future__ import annotations

import functools
import os
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from airflow_lockprovider.cli.output import print_rows
from airflow_lockprovider.cli.rules import show_rules
from airflow_lockprovider.desk import verbs
from airflow_lockprovider.exceptions import LockProviderError
from airflow_lockprovider.hooks.lease import LeaseHook


def _command(verb: Callable[[Namespace, verbs.Desk], None]) -> Callable[[Namespace], None]:
    @functools.wraps(verb)
    def run(args: Namespace) -> None:
        try:
            with _server_connections():
                hook = LeaseHook(args.conn_id, schema=args.schema)
                try:
                    verb(args, verbs.Desk(hook, "airflow locks", f"connection {hook.lease_conn_id!r}", print_rows))
                finally:
                    hook.close()
        except (LockProviderError, verbs.Refusal) as error:
            raise SystemExit(f"airflow locks: {' '.join(str(error).split())}") from error

    return run


init = _command(verbs.init)
list_leases = _command(verbs.list_leases)
queue = _command(verbs.queue)
history = _command(verbs.history)
show = _command(verbs.show)
revoke = _command(verbs.revoke)
pause = _command(verbs.pause)
resume = _command(verbs.resume)
set_capacity = _command(verbs.set_capacity)
clean_up = _command(verbs.clean_up)


def rules(args: Namespace) -> None:
    """Which rule locks which task. It asks no lock database."""
    try:
        with _server_connections():
            show_rules(args)
    except LockProviderError as error:
        raise SystemExit(f"airflow locks: {' '.join(str(error).split())}") from error


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
