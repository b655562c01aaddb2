"""A real Airflow with three people who may log in, and a real Chromium.

Pictures of every test go to .cache/ui, also of the moment at which one fails.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_lockprovider.demo.airflow_environment import kept_secrets
from airflow_lockprovider.demo.airflow_services import AirflowServices
from airflow_lockprovider.demo.ports import LOOPBACK, free_port
from airflow_lockprovider.demo.postgres import EmbeddedPostgres
from airflow_lockprovider.demo.supervisor import Supervisor
from airflow_lockprovider.lease import LeaseEngine, LeaseSettings, connect
from tests.ui.past import fill

REPOSITORY = Path(__file__).resolve().parents[2]
PICTURES = REPOSITORY / ".cache" / "ui"
INSTALL = "no Chromium: apt-get install -y --no-install-recommends chromium fonts-dejavu-core, or set CHROMIUM"
PEOPLE = ("admin", "op", "viewer")
PATH = "/some/prefix"
PARCELS = "parcels_2026-11-21"
"""The run that waits for ``dwh.parcels``."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("ui")
            item.add_marker("live")
            item.add_marker("deep")  # not in every `make test`: make ui


def chromium() -> str | None:
    """Where a Chromium is."""
    named = os.environ.get("CHROMIUM")
    return named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@dataclass(frozen=True)
class Ui:
    """A running Airflow, where a browser finds it, who may log in with which password, and the locks."""

    airflow: AirflowServices
    supervisor: Supervisor
    passwords: dict[str, str]
    dsn: str
    locks: LeaseEngine
    url: str
    url_with_path: str
    """Another api-server of the same Airflow, with `PATH` before all its addresses. It may still be starting."""

    def until_it_waits(self, dag_id: str, run_id: str, lock: str) -> None:
        """Return when task ``load`` of the run, which wants a lock that is taken, waits in the triggerer."""
        for _ in range(240):
            states = self.airflow.client.task_states(dag_id, run_id)
            if states.get("load") == "deferred" and self.locks.queue(lock):
                return
            self.supervisor.wait(0.5)
        raise AssertionError(self.airflow.client.task_states(dag_id, run_id))


def start(postgres: EmbeddedPostgres, folder: Path) -> Iterator[Ui]:
    """Airflow on a metadata database and a warehouse of their own."""
    shutil.copytree(Path(__file__).parent / "dags", folder / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    names = [f"ui_airflow_{os.getpid()}", f"ui_warehouse_{os.getpid()}"]
    metadata, warehouse = (postgres.create_database(name) for name in names)
    locks = connect(warehouse, settings=LeaseSettings())
    locks.init_schema()
    fill(warehouse)
    passwords = kept_secrets(folder / "airflow" / "passwords.json", dict.fromkeys(PEOPLE, 12))
    settings = {
        "AIRFLOW_CONN_DWH_DEFAULT": warehouse,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{name}" for name in PEOPLE),
    }
    try:
        with Supervisor(folder / "logs", grace=3.0) as supervisor:
            airflow = AirflowServices(folder / "airflow", folder / "dags", metadata, supervisor, extra_env=settings)
            airflow.migrate()
            airflow.start()
            airflow.wait_until_healthy(["nightly_sales", "parcels"])
            # Both take their time, so they begin now: a second api-server, and a run that waits for a lock.
            with_path = _start_with_path(airflow, supervisor)
            assert locks.try_acquire("dwh.parcels", owner_id="parcels held", owner="the warehouse's own job", ttl=3600)
            airflow.client.trigger("parcels", run_id=PARCELS)
            yield Ui(airflow, supervisor, passwords, warehouse, locks, airflow.url, with_path)
            # Nothing is left to be done in good order, so all are told at once, and have little time for it.
            for pid in supervisor.pids().values():
                os.kill(pid, signal.SIGTERM)
    finally:
        locks.close()
        for name in names:
            postgres.drop_database(name)


def _start_with_path(airflow: AirflowServices, supervisor: Supervisor) -> str:
    port = free_port()
    url = f"http://{LOOPBACK}:{port}{PATH}"
    settings = {"AIRFLOW__API__BASE_URL": url, "AIRFLOW__API__PORT": str(port)}
    command = airflow.command("api-server")
    supervisor.start("api-server-with-path", command, env={**airflow.env, **settings}, cwd=airflow.home)
    return url


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    path = chromium()
    if path is None:
        pytest.skip(INSTALL)
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: make setup installs it")
    arguments = ["--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update"]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=path, headless=True, args=arguments)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def ui(browser: Any, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    yield from start(postgres, tmp_path_factory.mktemp("ui"))
