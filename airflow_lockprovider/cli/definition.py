"""The shape of ``airflow locks …``. Airflow loads it for every command, so the work is imported when it is called."""

# mypy: disable-error-code="no-untyped-call"
# Airflow's Arg has no annotations.
from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.cli.cli_config import CLICommand

_COMMANDS = "airflow_lockprovider.cli.commands."


def get_locks_cli_commands() -> list[CLICommand]:
    """The command group ``locks``, named in the provider info."""
    from airflow.cli.cli_config import (
        ARG_OUTPUT,
        ARG_VERBOSE,
        ARG_YES,
        ActionCommand,
        Arg,
        GroupCommand,
        lazy_load_command,
        positive_int,
    )

    from airflow_lockprovider.cli.ready_definition import ready_group

    name = Arg(("name",), help="name of the lock")
    only = Arg(("--lock",), help="only this lock", metavar="NAME")
    limit = Arg(
        ("--limit",), help="how many events (default: %(default)s)", type=positive_int(allow_zero=False), default=100
    )
    by = Arg(("--by",), help="who does it, for the record (default: the user of this process)", metavar="PERSON")
    reason = Arg(("--reason",), help="why, for the record", required=True)
    token = Arg(("--token",), help="only the lease with this token", type=positive_int(allow_zero=False))
    capacity = Arg(("--capacity",), help="units of the lock", type=positive_int(allow_zero=False), required=True)
    terminate = Arg(
        ("--terminate",),
        help="also end the database sessions whose guarded transaction is still open",
        action="store_true",
    )
    file = Arg(("--file",), help="try this rule file (default: option rules of section lockprovider)", metavar="PATH")
    dag = Arg(("--dag-id",), help="only tasks of this DAG", metavar="DAG")
    since = Arg(("--since",), help="how far back (default: %(default)s)", metavar="TIME", default="24 hours")
    owners = Arg(("--owners",), help="by task, not only by lock", action="store_true")
    limits = (
        Arg(("--held",), help="from when on a lease is held too long (default: option watch_held)", metavar="TIME"),
        Arg(("--waiting",), help="from when on somebody waits too long (default: watch_waiting)", metavar="TIME"),
        Arg(("--queue",), help="more waiters than this are too many (default: watch_queue)", metavar="NUMBER"),
        Arg(("--growth",), help="a line that has grown for so long is told (default: watch_growth)", metavar="TIME"),
    )
    clean = Arg(("--clean-up",), help="remove what is over before looking", action="store_true")
    alert = Arg(("--alert",), help="tell it over the channels of option alerts, too", action="store_true")
    database = (
        Arg(
            ("--conn-id",),
            help="connection of the database with the locks (default: option lease_conn_id of section lockprovider)",
        ),
        Arg(("--schema",), help="schema of the lock tables (default: option schema of section lockprovider)"),
    )

    def command(verb: str, text: str, *args: Arg, function: str | None = None) -> ActionCommand:
        run = lazy_load_command(_COMMANDS + (function or verb))
        return ActionCommand(name=verb, help=text, func=run, args=(*args, *database))

    return [
        GroupCommand(
            name="locks",
            help="Look at and look after the locks in the data warehouse",
            subcommands=(
                command("init", "Create the lock tables, or upgrade them"),
                command("upgrade", "The same as init", function="init"),
                command("list", "Who holds which lock", only, ARG_OUTPUT, function="list_leases"),
                command("queue", "Who waits for which lock, in order", only, ARG_OUTPUT),
                command("history", "What happened, newest first", only, limit, ARG_OUTPUT),
                command("stats", "How long locks were held and waited for", only, since, owners, ARG_OUTPUT),
                command("check", "What is wrong: exit code 3 if anything is", only, *limits, clean, alert, ARG_OUTPUT),
                command("doctor", "Does all that the locks need work: exit code 3 if not", ARG_OUTPUT),
                command("show", "Everything about one lock", name, ARG_OUTPUT),
                command("revoke", "Take a lock away from its owners", name, reason, by, token, terminate, ARG_YES),
                command("pause", "Grant a lock to nobody until resume; who holds it goes on", name, reason, by),
                command("resume", "End a pause", name, by),
                command("set", "Change the capacity of a lock", name, capacity, function="set_capacity"),
                command("clean-up", "Remove what has expired, forget waiters nobody looks after", function="clean_up"),
                ActionCommand(
                    name="rules",
                    help="Which rule of the rule file locks which task",
                    func=lazy_load_command(f"{_COMMANDS}rules"),
                    args=(file, dag, ARG_OUTPUT, ARG_VERBOSE),
                ),
                ready_group(),
            ),
        )
    ]
