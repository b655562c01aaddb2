from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airflow_lockprovider.lease import LeaseEngine, LeaseSettings, connect
from tests.conftest import REPOSITORY


@pytest.fixture
def engine(database: str) -> Iterator[LeaseEngine]:
    """An engine whose tables are made."""
    engine = connect(database, settings=LeaseSettings(poll_interval=0.05))
    engine.init_schema()
    yield engine
    engine.close()


@pytest.fixture
def sql(database: str) -> Iterator[psycopg.Connection[Any]]:
    """Plain SQL, as the superuser."""
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


class Shell:
    """Starts `lockprovider` as people do: in a process of its own, named a database by its environment."""

    def __init__(self, dsn: str) -> None:
        self.environment = {**os.environ, "LOCKPROVIDER_DSN": dsn, "PYTHONPATH": str(REPOSITORY)}
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        """Do not wait for it."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        command = [sys.executable, "-m", "airflow_lockprovider.shell", *words]
        given = {"env": self.environment, "text": True, "preexec_fn": signals_count, **pipes, **options}
        self._started.append(subprocess.Popen(command, **given))  # type: ignore[call-overload]
        return self._started[-1]

    def __call__(self, *words: str, input: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
        """Wait for its end."""
        process = self.start(*words, **options)
        out, err = process.communicate(input, timeout=60)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def end(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None and not pipe.closed:
                    pipe.close()


@pytest.fixture
def shell(database: str, engine: LeaseEngine) -> Iterator[Shell]:
    """`lockprovider …` on a database with lock tables. All processes are gone at the end of the test."""
    shell = Shell(database)
    yield shell
    shell.end()


def signals_count() -> None:
    """The tests may run under nohup, or in the background of a script: what is ignored there is inherited."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def until(true: Callable[[], Any], seconds: float = 20) -> Any:
    """Look until it is true, and return it. Fails after ``seconds``."""
    give_up = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < give_up, "it has never become true"
        time.sleep(0.02)
    return found


def lives(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
