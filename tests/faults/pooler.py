"""A pytest plugin: the engines of the contract's tests speak through PgBouncer in transaction mode.

Loaded by: pytest -p tests.faults.pooler tests/conformance -k postgres. Each transaction may meet another session of the
server (round robin), so whatever would need a session's state fails.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import psycopg
import pytest

from airflow_lockprovider.demo.ports import free_port
from airflow_lockprovider.demo.postgres_binaries import find_binaries
from airflow_lockprovider.lease import LeaseEngine, LeaseSettings, connect
from tests.conformance import dialects

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")


class Pooler:
    """A PgBouncer in front of one server."""

    def __init__(self, dsn: str) -> None:
        assert PROGRAM
        self._folder = Path(tempfile.mkdtemp(prefix="lockprovider-pooler-"))
        self._folder.chmod(0o777)
        parts = urlsplit(dsn)
        self._port = free_port()
        self._target = (parts.hostname, parts.port)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        settings = self._folder / "pgbouncer.ini"
        settings.write_text(
            "[databases]\n"
            f"* = host={parts.hostname} port={parts.port} user={user} password='{password}'\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self._port}\nunix_socket_dir =\nauth_type = any\n"
            "pool_mode = transaction\ndefault_pool_size = 20\nserver_round_robin = 1\nmax_client_conn = 200\n"
            "ignore_startup_parameters = extra_float_digits\n",
            encoding="utf-8",
        )
        settings.chmod(0o644)
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*find_binaries(self._folder).prefix, PROGRAM, str(settings)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 20
        while True:
            try:
                psycopg.connect(self.dsn(dsn)).close()
                return
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise RuntimeError((self._folder / "log").read_text(encoding="utf-8")) from error
                time.sleep(0.05)

    def serves(self, dsn: str) -> bool:
        parts = urlsplit(dsn)
        return (parts.hostname, parts.port) == self._target

    def dsn(self, dsn: str) -> str:
        """The same database, through here."""
        return urlunsplit(urlsplit(dsn)._replace(netloc=f"lockprovider@127.0.0.1:{self._port}"))

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


_pooler: Pooler | None = None


def _engine(self: dialects.Postgres, **settings: Any) -> LeaseEngine:
    global _pooler
    if _pooler is None or not _pooler.serves(self.dsn):
        _pooler = Pooler(self.dsn)
    engine = connect(_pooler.dsn(self.dsn), settings=LeaseSettings(**{"listen": False, **settings}))
    self._engines.append(engine)
    return engine


def pytest_configure() -> None:
    """Only where this is loaded as a plugin: who merely imports it keeps its engines as they are."""
    dialects.Postgres.engine = _engine  # type: ignore[method-assign]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """LISTEN is not there behind such a pooler: who waits, polls."""
    need = [item for item in items if "_listens" in getattr(item, "fixturenames", ())]
    config.hook.pytest_deselected(items=need)
    items[:] = [item for item in items if item not in need]


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish() -> None:
    if _pooler is not None:
        _pooler.stop()
