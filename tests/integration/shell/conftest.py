from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from airflow_lockprovider.lease import LeaseEngine, LeaseSettings, connect


@pytest.fixture
def engine(database: str) -> Iterator[LeaseEngine]:
    """An engine whose tables are made."""
    engine = connect(database, settings=LeaseSettings(poll_interval=0.05))
    engine.init_schema()
    yield engine
    engine.close()


@pytest.fixture
def sql(database: str) -> Iterator[psycopg.Connection[Any]]:
    """Plain SQL, as the superuser."""
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection
