from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from airflow_lockprovider.lease import LeaseEngine, connect
from tests.conftest import REPOSITORY
from tests.faults.worker import SETTINGS


class Worker:
    """A process that can be stopped, continued and killed, and that answers in lines of JSON."""

    def __init__(self, kind: str, dsn: str, **options: Any) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.worker", kind, dsn, json.dumps(options)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def heard(self) -> dict[str, Any]:
        """Its next word. Fails if it ends without one."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the worker ended with exit code {self._process.wait()} and said nothing"
        return json.loads(line)  # type: ignore[no-any-return]

    def go_on(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)
        if number == signal.SIGSTOP:
            os.waitpid(self.pid, os.WUNTRACED)
        if number == signal.SIGKILL:
            self._process.wait()

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                continue


@pytest.fixture
def workers() -> Iterator[Callable[..., Worker]]:
    """Starts a process; all are gone at the end of the test."""
    started: list[Worker] = []

    def start(kind: str, dsn: str, **options: Any) -> Worker:
        started.append(Worker(kind, dsn, **options))
        return started[-1]

    yield start
    for worker in started:
        worker.end()


@pytest.fixture
def engine(database: str) -> Iterator[LeaseEngine]:
    """An engine with the settings of the workers; tables made."""
    engine = connect(database, settings=SETTINGS)
    engine.init_schema()
    yield engine
    engine.close()


@pytest.fixture
def sql(database: str) -> Iterator[psycopg.Connection[Any]]:
    """Plain SQL, for what the workers write."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("create table inside (token bigint)")
        connection.execute("create table seen (token bigint, others int)")
        connection.execute("create table written (token bigint, by text)")
        yield connection
