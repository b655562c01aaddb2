"""A real Airflow with three people who may log in, and a real Chromium.

Pictures of every test go to .cache/ui, also of the moment at which one fails.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_lockprovider.demo.airflow_environment import kept_secrets
from airflow_lockprovider.demo.airflow_services import AirflowServices
from airflow_lockprovider.demo.postgres import EmbeddedPostgres
from airflow_lockprovider.demo.supervisor import Supervisor
from airflow_lockprovider.lease import LeaseEngine, LeaseSettings, connect
from tests.ui.past import fill

REPOSITORY = Path(__file__).resolve().parents[2]
PICTURES = REPOSITORY / ".cache" / "ui"
INSTALL = "no Chromium: apt-get install -y --no-install-recommends chromium fonts-dejavu-core, or set CHROMIUM"
PEOPLE = ("admin", "op", "viewer")


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
    """A running Airflow, who may log in with which password, and the locks."""

    airflow: AirflowServices
    supervisor: Supervisor
    passwords: dict[str, str]
    dsn: str
    locks: LeaseEngine

    @property
    def url(self) -> str:
        return self.airflow.client.url


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
        with Supervisor(folder / "logs") as supervisor:
            airflow = AirflowServices(folder / "airflow", folder / "dags", metadata, supervisor, extra_env=settings)
            airflow.migrate()
            airflow.start()
            airflow.wait_until_healthy(["nightly_sales"])
            yield Ui(airflow, supervisor, passwords, warehouse, locks)
    finally:
        locks.close()
        for name in names:
            postgres.drop_database(name)


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


@pytest.fixture(scope="module")
def ui(browser: Any, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    yield from start(postgres, tmp_path_factory.mktemp("ui"))
