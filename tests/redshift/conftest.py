from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_lockprovider.lease import LeaseEngine
from tests.conformance.dialects import Redshift


@pytest.fixture
def redshift(database: str) -> Iterator[Redshift]:
    """A Postgres in Redshift mode, with the tables of the locks."""
    made = Redshift(database)
    made.engine().init_schema()
    yield made
    made.close()


@pytest.fixture
def engine(redshift: Redshift) -> LeaseEngine:
    return redshift.engine()
