"""What the live tests share: a real Airflow that runs the examples with short leases, and who is still alive."""

from __future__ import annotations

import os
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


@pytest.fixture
def live(postgres: EmbeddedPostgres, database: str, tmp_path: Path) -> Iterator[Live]:
    metadata = postgres.create_database(f"airflow_{os.getpid()}")
    create_tables(database)
    locks = connect(database, settings=SETTINGS)
    locks.init_schema()
    settings = {
        "AIRFLOW_CONN_DWH_DEFAULT": database,
        "AIRFLOW__LOCKPROVIDER__TTL": str(SETTINGS.ttl),
        "AIRFLOW__LOCKPROVIDER__SKIP_AFTER": str(SETTINGS.skip_after),
    }
    try:
        with Supervisor(tmp_path / "logs") as supervisor:
            airflow = AirflowServices(
                tmp_path / "airflow", REPOSITORY / "dags", metadata, supervisor, extra_env=settings
            )
            airflow.migrate()
            airflow.start()
            airflow.wait_until_healthy(["node_b_first", "node_b_second"])
            yield Live(airflow, supervisor, database, locks)
    finally:
        locks.close()
        postgres.drop_database(f"airflow_{os.getpid()}")


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
