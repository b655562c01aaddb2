"""What the live tests share: a real Airflow that runs the examples with short leases, and who is still alive."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from airflow_lockprovider.demo.airflow_services import AirflowServices
from airflow_lockprovider.demo.postgres import EmbeddedPostgres
from airflow_lockprovider.demo.supervisor import Supervisor
from airflow_lockprovider.demo.warehouse_tables import create_tables
from airflow_lockprovider.lease import LeaseEngine, LeaseSettings, connect

REPOSITORY = Path(__file__).resolve().parents[2]
SETTINGS = LeaseSettings(ttl=12, skip_after=5, poll_interval=1)


@dataclass(frozen=True)
class Live:
    """A running Airflow, and the warehouse with its locks."""

    airflow: AirflowServices
    supervisor: Supervisor
    dsn: str
    locks: LeaseEngine


@pytest.fixture(scope="module")
def live_settings() -> dict[str, str]:
    """More environment variables of the Airflow; a module may have its own."""
    return {}


@pytest.fixture(scope="module")
def live(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory, live_settings: dict[str, str]
) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("live")
    for dags in (REPOSITORY / "dags", Path(__file__).parent / "dags"):
        shutil.copytree(dags, folder / "dags", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    names = [f"airflow_{os.getpid()}", f"warehouse_{os.getpid()}"]
    metadata, database = (postgres.create_database(name) for name in names)
    create_tables(database)
    locks = connect(database, settings=SETTINGS)
    locks.init_schema()
    settings = {
        "AIRFLOW_CONN_DWH_DEFAULT": database,
        "AIRFLOW__LOCKPROVIDER__TTL": str(SETTINGS.ttl),
        "AIRFLOW__LOCKPROVIDER__SKIP_AFTER": str(SETTINGS.skip_after),
        **live_settings,
    }
    try:
        with Supervisor(folder / "logs") as supervisor:
            airflow = AirflowServices(folder / "airflow", folder / "dags", metadata, supervisor, extra_env=settings)
            airflow.migrate()
            airflow.start()
            airflow.wait_until_healthy(["node_b_first", "node_b_second", "keeps_its_lease"])
            yield Live(airflow, supervisor, database, locks)
    finally:
        locks.close()
        for name in names:
            postgres.drop_database(name)


def alive_with(mark: str) -> dict[int, str]:
    """Process id → command of all processes whose environment has ``mark`` in it, so that were started from here."""
    found = {}
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                if mark.encode() in (process / "environ").read_bytes():
                    found[int(process.name)] = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:  # gone, or somebody else's
                continue
    return found
