from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_lockprovider.demo.postgres import EmbeddedPostgres
from airflow_lockprovider.lease import LeaseEngine
from tests.conformance.dialects import DIALECTS, Dialect


@pytest.fixture(scope="session", params=DIALECTS)
def installed(request: pytest.FixtureRequest, postgres: EmbeddedPostgres) -> Iterator[tuple[str, str]]:
    """A dialect's name, and the DSN of a database with its tables."""
    database = f"conformance_{request.param}"
    dsn = postgres.create_database(database, template="template0")
    made = DIALECTS[request.param](dsn)
    made.engine().init_schema()
    made.close()
    yield request.param, dsn
    postgres.drop_database(database)


@pytest.fixture
def dialect(installed: tuple[str, str], request: pytest.FixtureRequest) -> Iterator[Dialect]:
    """Every dialect in turn, with no locks in it."""
    name, dsn = installed
    if reason := DIALECTS[name].cannot.get(request.node.originalname):
        pytest.skip(f"{name}: {reason}")
    made = DIALECTS[name](dsn)
    made.empty()
    yield made
    made.close()


@pytest.fixture
def engine(dialect: Dialect) -> LeaseEngine:
    """An engine on the empty tables."""
    return dialect.engine()
