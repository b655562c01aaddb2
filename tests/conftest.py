"""What every test may ask for: a Postgres, a fresh database, an Airflow that knows only this repository.

Airflow reads its settings when it is first imported, so they are set here, before any test module is.
"""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_lockprovider.demo.postgres import EmbeddedPostgres
from tests.simulated_aws import aws, lake  # noqa: F401

REPOSITORY = Path(__file__).resolve().parent.parent


def _prepare_airflow() -> Path:
    if "airflow" in sys.modules:
        raise RuntimeError("airflow was imported before tests/conftest.py could set it up")
    home = Path(tempfile.mkdtemp(prefix="lockprovider-airflow-"))
    # Not a fixture: fixtures end before the last Airflow code (its own atexit hooks) does.
    atexit.register(_remove_if_ours, home, os.getpid())
    for name in [name for name in os.environ if name.startswith(("AIRFLOW_", "PG"))]:
        del os.environ[name]  # the developer's own Airflow and Postgres are none of our business
    os.environ |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AWS_EC2_METADATA_DISABLED": "true",  # no test may ask the machine it runs on for credentials
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }
    return home


def _remove_if_ours(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # forked test processes inherit the atexit hook
        shutil.rmtree(folder, ignore_errors=True)


AIRFLOW_HOME = _prepare_airflow()


# What takes minutes and is about the engine alone.
_DEEP = (
    "redshift",
    "integration/shell",
    "faults/test_other_servers.py",
    "faults/test_stopped_clients.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the long proofs, by where they lie. Before `-m` is looked at: it is applied after this hook."""
    for item in items:
        place = item.path.relative_to(REPOSITORY / "tests").as_posix()
        if place.startswith(_DEEP) or (place.startswith("conformance") and "redshift" in item.name):
            item.add_marker("deep")
    items.sort(key=lambda item: item.get_closest_marker("live") is None)  # they take longest


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Several processes (pytest -n): tests of one file stay together, and so do all that start a whole Airflow."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "live" if nodeid.startswith("tests/live/") else nodeid.split("::", 1)[0]

    config.option.loadscopereorder = False  # as they are sorted
    return ByFile(config, log)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """One embedded server for all tests."""
    folder = Path(tempfile.mkdtemp(prefix="lockprovider-postgres-"))
    try:
        with EmbeddedPostgres(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The DSN of a database that only this test knows."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    yield postgres.create_database(name, template="template0")
    postgres.drop_database(name)


_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def airflow_db() -> Path:
    """Airflow's metadata database (SQLite), migrated. The folder it lies in is AIRFLOW_HOME."""
    subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    return AIRFLOW_HOME
