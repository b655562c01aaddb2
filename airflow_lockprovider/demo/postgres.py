"""A Postgres server of our own, from a wheel's binaries: nothing to install, no docker, no rights needed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_lockprovider.demo.leash import leashed
from airflow_lockprovider.demo.ports import LOOPBACK, free_port
from airflow_lockprovider.demo.postgres_binaries import PostgresBinaries, find_binaries

if TYPE_CHECKING:
    from types import TracebackType

    import psycopg

USER = "lockprovider"
_START_TIMEOUT = 60.0
_STOP_GRACE = 15.0
_PORT_TRIES = 5
_TAKEN = "could not create any TCP/IP sockets"  # the server's last word when its port is taken
_OPTIONS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",  # their paths have a length limit
    "max_connections": "200",
    "shared_buffers": "32MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_FAST_OPTIONS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class PostgresError(RuntimeError):
    """The embedded server could not start, or ended by itself."""


class EmbeddedPostgres:
    """A Postgres server on 127.0.0.1 that lives as long as its `with` block, never longer than its process.

    `data_dir` holds all of it (cluster, password, log) and can be used again later. Without a `port` a free
    one is chosen at every start; without a `password` one is made up and kept. `durable=False` trades safety
    against a crash of the machine for speed, which is what a test or a demo wants.
    """

    def __init__(
        self,
        data_dir: str | os.PathLike[str],
        *,
        port: int = 0,
        password: str | None = None,
        durable: bool = False,
    ) -> None:
        self.data_dir = Path(data_dir).resolve()
        self.durable = durable
        self.log_file = self.data_dir / "postgres.log"
        self._wanted_port = port
        self._wanted_password = password
        self._port = 0
        self._password = ""
        self._cluster = self.data_dir / "cluster"
        self._server: subprocess.Popen[bytes] | None = None
        self._claim: int | None = None

    # -- what users of a running server ask for

    @property
    def port(self) -> int:
        if not self._port:
            raise PostgresError(f"the Postgres in {self.data_dir} has no port yet: start() it first")
        return self._port

    def dsn(self, database: str = "postgres") -> str:
        """A URI with everything in it, percent-encoded."""
        secret, name = quote(self._password, safe=""), quote(database, safe="")
        return f"postgresql://{USER}:{secret}@{LOOPBACK}:{self.port}/{name}"

    def create_database(self, name: str, template: str | None = None) -> str:
        """The DSN of database `name`, which is made if it is not there yet."""
        from psycopg import sql

        with self._connect() as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
                statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
                connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template or "template1")))
        return self.dsn(name)

    def drop_database(self, name: str) -> None:
        """Removes database `name` and ends whoever is still connected to it."""
        from psycopg import sql

        with self._connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def ended(self) -> str | None:
        """Why the server is not running any more, with the end of its log; None while it runs."""
        if self._server is None or self._server.poll() is None:
            return None
        code = self._server.returncode
        return f"postgres ended with exit code {code}; {self.log_file} ends with:\n{self._log_tail()}"

    # -- life

    def start(self) -> EmbeddedPostgres:
        if self._server is not None:
            return self
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._take_claim()
        try:
            self._clear_stale_server()
            self._password = self._kept_password()
            binaries = find_binaries(self.data_dir)
            if not self._cluster.exists():
                self._initialise(binaries)
            _hand_over(self._cluster, binaries.uid)
            self._run(binaries)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Ends the server, and with it every connection. Does nothing when it does not run."""
        if self._server is not None:
            with contextlib.suppress(ProcessLookupError):
                self._server.terminate()
            self._server.wait()  # bounded: the leash kills when the grace time is over
            self._server = None
        self._port = 0
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    def __enter__(self) -> EmbeddedPostgres:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- how

    def _take_claim(self) -> None:
        """One owner per folder, as long as it lives: the lock goes with the process, however that ends."""
        claim = os.open(self.data_dir / "owner", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(claim, 20, 0).decode(errors="replace").strip()
            os.close(claim)
            raise PostgresError(
                f"{self.data_dir} is in use by process {owner or 'unknown'}: stop it or take another folder"
            ) from None
        os.ftruncate(claim, 0)
        os.pwrite(claim, f"{os.getpid()}\n".encode(), 0)
        self._claim = claim

    def _clear_stale_server(self) -> None:
        """Nobody owns this folder but us, so a server that still runs on it outlived its owner."""
        pid = self._recorded().get("pid")
        if pid is None:
            return
        number = int(pid)
        deadline = time.monotonic() + _STOP_GRACE
        while _serves(number, self._cluster):
            # Its leash may be at it already: asking for a fast shutdown twice does no harm.
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGINT if time.monotonic() < deadline else signal.SIGKILL)
            time.sleep(0.05)
        # What is left names a process that is gone, or by now another program, which Postgres would mistake
        # for a server.
        (self._cluster / "postmaster.pid").unlink(missing_ok=True)

    def _kept_password(self) -> str:
        kept = self.data_dir / "password"
        if self._cluster.exists() and kept.exists():
            password = kept.read_text(encoding="utf-8").rstrip("\n")
            if self._wanted_password not in (None, password):
                raise PostgresError(f"{self.data_dir} was set up with another password: the one in {kept}")
            return password
        password = self._wanted_password or secrets.token_urlsafe(18)
        kept.unlink(missing_ok=True)
        with open(os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(f"{password}\n")
        return password

    def _initialise(self, binaries: PostgresBinaries) -> None:
        """Makes the cluster beside its place, then moves it: an interrupted one is never taken for done."""
        scratch = self.data_dir / "cluster.new"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700)
        _hand_over(scratch, binaries.uid)
        options: list[str | os.PathLike[str]] = [
            "-D",
            scratch,
            "-U",
            USER,
            "-A",
            "scram-sha-256",
            f"--pwfile={self.data_dir / 'password'}",
        ]
        options += ["-E", "UTF8", "--no-locale", *([] if self.durable else ["--no-sync"])]
        made = subprocess.run(
            leashed(binaries.command("initdb", *options), grace=1),
            env=_clean_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if made.returncode != 0:
            raise PostgresError(f"initdb failed in {scratch} (exit code {made.returncode}):\n{made.stderr.strip()}")
        scratch.rename(self._cluster)

    def _run(self, binaries: PostgresBinaries) -> None:
        for tries_left in reversed(range(1 if self._wanted_port else _PORT_TRIES)):
            self._port = self._wanted_port or free_port()
            self._launch(binaries)
            if self._is_ready():
                return
            self._server = None
            if _TAKEN not in self._log_tail():
                raise PostgresError(f"postgres did not start; {self.log_file} ends with:\n{self._log_tail()}")
            if not tries_left:
                raise PostgresError(f"port {self._port} is taken: stop whoever listens there, or choose another one")

    def _launch(self, binaries: PostgresBinaries) -> None:
        options = _OPTIONS | ({} if self.durable else _FAST_OPTIONS) | {"port": str(self._port)}
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with self.log_file.open("wb") as log:
            self._server = subprocess.Popen(
                # SIGINT is Postgres' fast shutdown: it does not wait for clients to leave
                leashed(
                    binaries.command("postgres", "-D", self._cluster, *settings),
                    stop_signal=signal.SIGINT,
                    grace=_STOP_GRACE,
                ),
                env=_clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us, who stop the server when its users are gone
            )

    def _is_ready(self) -> bool:
        """Waits until the server takes connections; False when it ended instead."""
        assert self._server is not None
        deadline = time.monotonic() + _START_TIMEOUT
        while self._server.poll() is None:
            if self._recorded().get("status") == "ready":
                return True
            if time.monotonic() > deadline:
                raise PostgresError(f"postgres is not ready after {_START_TIMEOUT:.0f} s; see {self.log_file}")
            time.sleep(0.02)
        return False

    def _recorded(self) -> dict[str, str]:
        """What the server writes down about itself; nothing when it is not there."""
        try:
            lines = (self._cluster / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return {}
        names = ("pid", "folder", "started", "port", "socket", "address", "memory", "status")
        return {name: value.strip() for name, value in zip(names, lines, strict=False) if value.strip()}

    def _log_tail(self) -> str:
        with contextlib.suppress(FileNotFoundError):
            return "\n".join(self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
        return "(no log)"

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        import psycopg

        return psycopg.connect(self.dsn(), autocommit=True, connect_timeout=10)


def _clean_environment() -> dict[str, str]:
    """Ours without PGDATA, PGPORT and their like, which would change what the programs do."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _serves(pid: int, cluster: Path) -> bool:
    """Whether that process really is a Postgres server on that folder."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        return Path(command[0]).name == "postgres" and str(cluster) in command
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return False
    shown = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return "postgres" in shown and str(cluster) in shown


def _hand_over(folder: Path, uid: int | None) -> None:
    """Gives `folder` to the user that the server runs as: it insists on owning its data."""
    wanted = os.geteuid() if uid is None else uid
    if folder.stat().st_uid == wanted or os.geteuid() != 0:
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, wanted, -1, follow_symlinks=False)
