"""`lockprovider`: from words to an exit code."""

from __future__ import annotations

import os
import re
import signal
import sys
from argparse import Namespace
from collections.abc import Sequence

from airflow_lockprovider.desk.verbs import Desk, Found, Refusal
from airflow_lockprovider.lease import ConfigurationError, LeaseEngine, LeaseSettings, LockProviderError, connect
from airflow_lockprovider.shell import exit_codes
from airflow_lockprovider.shell.arguments import parser, split
from airflow_lockprovider.shell.execute import execute
from airflow_lockprovider.shell.locks import COMMANDS
from airflow_lockprovider.shell.output import print_rows
from airflow_lockprovider.shell.voice import PROGRAM, Voice

_DATABASE = re.compile(r"\bdbname\s*=\s*'?([^\s']+)|^\w+://[^/?]*/([^/?\s]+)")
_LIBPQ = ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE")


def main(words: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code; ends by SystemExit for words that are not understood."""
    ours, theirs = split(list(sys.argv[1:] if words is None else words))
    understands = parser()
    args = understands.parse_args(ours)
    voice = Voice(args.dsn or "", quiet=getattr(args, "quiet", False))
    try:
        if args.command == "exec":
            if not theirs:
                raise ConfigurationError(f"no command was given: lockprovider exec {args.name} -- command args…")
            args.words = theirs
            voice.take_over_logging()
            return execute(args, lambda settings: _connect(args, settings), voice)
        if theirs is not None:
            raise ConfigurationError(f"lockprovider {args.command} runs no command: leave out what follows --")
        engine = _connect(args)
        try:
            COMMANDS[args.command](args, Desk(engine, PROGRAM, _place(args), print_rows))
        finally:
            engine.close()
            sys.stdout.flush()
        return 0
    except Found:
        return exit_codes.PROBLEMS
    except Refusal as error:
        voice.say(str(error))
        return exit_codes.REFUSED
    except ConfigurationError as error:
        voice.say(str(error))
        return exit_codes.MISUSE
    except LockProviderError as error:
        voice.say(str(error))
        return exit_codes.UNAVAILABLE
    except KeyboardInterrupt:
        return exit_codes.SIGNALLED + signal.SIGINT
    except BrokenPipeError:  # | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except ImportError as error:
        voice.say(f"the database driver cannot be loaded ({error}): install psycopg[binary]")
        return exit_codes.UNAVAILABLE


def _connect(args: Namespace, settings: LeaseSettings | None = None) -> LeaseEngine:
    if args.dsn is None and not any(os.environ.get(name) for name in _LIBPQ):
        raise ConfigurationError("no database was named: set LOCKPROVIDER_DSN (or PGHOST and friends), or give --dsn")
    return connect(args.dsn or "", args.dialect, schema=args.schema, settings=settings)


def _place(args: Namespace) -> str:
    """Which database, without secrets: as libpq sees it only after connecting, so only what is plainly there."""
    found = _DATABASE.search(args.dsn or "")
    name = next(filter(None, found.groups()), None) if found else os.environ.get("PGDATABASE")
    return f"database {name!r}" if name else "the database"
