"""The words that `lockprovider` understands."""

from __future__ import annotations

import argparse
import os
import sys
from typing import NoReturn

from airflow_lockprovider.shell import exit_codes
from airflow_lockprovider.shell.output import FORMATS
from airflow_lockprovider.shell.voice import PROGRAM

_EXIT_CODES = f"""exit codes: the command's own, or
  {exit_codes.MISUSE}   words, settings or names that cannot work
  {exit_codes.UNAVAILABLE}   the database with the locks does not serve
  {exit_codes.BUSY}   the lock was not free in time; the command was not started
  {exit_codes.LOST}   the lease was lost; the command was stopped, its result does not count
  {exit_codes.CANNOT_EXECUTE}  the command cannot be run
  {exit_codes.NOT_FOUND}  there is no such command
  {exit_codes.SIGNALLED}+n a signal n ended the command, or the wait for the lock"""


class Parser(argparse.ArgumentParser):
    """Ends with the code for misuse, which no other outcome has."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(exit_codes.MISUSE, f"{self.prog}: {message}\n")


def parser() -> argparse.ArgumentParser:
    """All commands."""
    root = Parser(prog=PROGRAM, description="Locks in the data warehouse, without Airflow.")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    _exec(commands)
    _desk(commands)
    return root


def split(words: list[str]) -> tuple[list[str], list[str] | None]:
    """Our words, and those of the command: all behind the first ``--``. None: there is no ``--``."""
    if "--" not in words:
        return words, None
    at = words.index("--")
    return words[:at], words[at + 1 :]


def _database(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("database with the locks")
    group.add_argument(
        "--dsn",
        default=os.environ.get("LOCKPROVIDER_DSN"),
        help="libpq string or URI (default: $LOCKPROVIDER_DSN, else the PG… variables); keep passwords out of it: "
        "$PGPASSWORD and $PGPASSFILE are read",
    )
    group.add_argument(
        "--dialect",
        choices=("postgres", "redshift"),
        default=os.environ.get("LOCKPROVIDER_DIALECT", "postgres"),
        help="kind of database (default: $LOCKPROVIDER_DIALECT, else postgres)",
    )
    group.add_argument(
        "--schema",
        default=os.environ.get("LOCKPROVIDER_SCHEMA", "lockprovider"),
        help="schema of the lock tables (default: $LOCKPROVIDER_SCHEMA, else lockprovider)",
    )


def positive(text: str) -> int:
    """A whole number above zero."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _exec(commands: argparse._SubParsersAction[Parser]) -> None:
    command = commands.add_parser(
        "exec",
        help="run a command while holding a lock",
        usage=f"{PROGRAM} exec NAME [options] -- command args…",
        description="Acquire a lock, run a command, renew the lease while it runs, stop it if the lease is lost.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("name", metavar="NAME", help="name of the lock")
    command.add_argument("--ttl", help="life of the lease without renewal (default: 2m)", metavar="TIME")
    command.add_argument(
        "--wait", metavar="TIME|forever", help="longest wait for the lock (default: 1m; with skip or fail: 0)"
    )
    command.add_argument(
        "--on-busy",
        choices=("wait", "skip", "fail"),
        default="wait",
        help=f"not free in time: exit {exit_codes.BUSY}, or with skip 0 (default: %(default)s)",
    )
    command.add_argument("--priority", type=int, default=0, help="higher goes first in line (default: 0)")
    command.add_argument("--units", type=positive, default=1, help="units of the lock's capacity (default: 1)")
    command.add_argument("--capacity", type=positive, help="declared capacity of the lock (default: what it has)")
    command.add_argument("--shared", action="store_true", help="one of many readers; writers are kept out")
    command.add_argument(
        "--hold-at-least",
        metavar="TIME",
        help="keep the lock so long even if the command ends earlier (clocks that fire a little apart)",
    )
    command.add_argument("--once-key", metavar="KEY", help="do not run again what has succeeded under this key")
    command.add_argument(
        "--once-exit", type=int, default=0, metavar="N", help="exit code when there was nothing to do (default: 0)"
    )
    command.add_argument(
        "--grace", metavar="TIME", help="from SIGTERM to SIGKILL when the lease is lost (default: 10s, or ttl/5)"
    )
    command.add_argument("--owner", help="who holds it, for people (default: host:pid)")
    command.add_argument("-q", "--quiet", action="store_true", help="say nothing when skipping")
    _database(command)


def _desk(commands: argparse._SubParsersAction[Parser]) -> None:
    """The same commands as `airflow locks`, and `forget`."""

    def command(name: str, text: str) -> Parser:
        made = commands.add_parser(name, help=text, description=text)
        _database(made)
        return made

    command("init", "create the lock tables, or upgrade them")
    command("upgrade", "the same as init")
    for name, text in (
        ("list", "who holds which lock"),
        ("queue", "who waits for which lock, in order"),
        ("history", "what happened, newest first"),
    ):
        look = command(name, text)
        look.add_argument("--lock", metavar="NAME", help="only this lock")
        _output(look)
        if name == "history":
            look.add_argument("--limit", type=positive, default=100, help="how many events (default: %(default)s)")

    stats = command("stats", "how long locks were held and waited for")
    stats.add_argument("--lock", metavar="NAME", help="only this lock")
    stats.add_argument("--since", metavar="TIME", default="24 hours", help="how far back (default: %(default)s)")
    stats.add_argument("--owners", action="store_true", help="by owner, not only by lock")
    _output(stats)

    _check(command("check", f"what is wrong; exit code {exit_codes.PROBLEMS} if anything is"))
    _output(command("doctor", f"does all that the locks need work; exit code {exit_codes.PROBLEMS} if not"))

    show = command("show", "everything about one lock")
    show.add_argument("name", metavar="NAME", help="name of the lock")
    _output(show)

    revoke = command("revoke", "take a lock away from its owners")
    _named(revoke)
    revoke.add_argument("--reason", required=True, help="why, for the record")
    revoke.add_argument("--token", type=positive, help="only the lease with this token")
    revoke.add_argument(
        "--terminate",
        action="store_true",
        help="also end the database sessions whose guarded transaction is still open",
    )
    revoke.add_argument("-y", "--yes", action="store_true", help="do not ask")

    pause = command("pause", "grant a lock to nobody until resume; who holds it goes on")
    _named(pause)
    pause.add_argument("--reason", required=True, help="why, for the record")

    _named(command("resume", "end a pause"))

    capacity = command("set", "change the capacity of a lock")
    capacity.add_argument("name", metavar="NAME", help="name of the lock")
    capacity.add_argument("--capacity", type=positive, required=True, help="units of the lock")

    clean_up = command("clean-up", "remove what has expired, forget waiters nobody looks after")
    clean_up.add_argument(
        "--done-before", metavar="TIME", help="also forget once keys whose work was done longer ago than this (90d)"
    )

    forget = command("forget", "let the work of a once key run again")
    forget.add_argument("name", metavar="NAME", help="name of the lock")
    forget.add_argument("--once-key", required=True, metavar="KEY", help="the key it was done under")


def _check(command: argparse.ArgumentParser) -> None:
    command.add_argument("--lock", metavar="NAME", help="only this lock")
    command.add_argument("--held", metavar="TIME", help="from when on a lease is held too long (1 hour; or never)")
    command.add_argument("--waiting", metavar="TIME", help="from when on somebody waits too long (1 hour; or never)")
    command.add_argument("--queue", metavar="NUMBER", help="more waiters than this are too many (20; or never)")
    command.add_argument(
        "--growth", metavar="TIME", help="a line that has grown for so long is told (1 hour; or never)"
    )
    command.add_argument("--clean-up", action="store_true", help="remove what is over before looking")
    _output(command)


def _named(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", metavar="NAME", help="name of the lock")
    command.add_argument(
        "--by", metavar="PERSON", help="who does it, for the record (default: the user of this process)"
    )


def _output(command: argparse.ArgumentParser) -> None:
    command.add_argument("-o", "--output", choices=FORMATS, default="table", help="(default: %(default)s)")
