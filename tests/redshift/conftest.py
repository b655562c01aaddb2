from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from airflow_lockprovider.lease import LeaseEngine
from airflow_lockprovider.lease.redshift.session import Session
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


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of all statements that are sent."""
    names: list[str] = []
    run = Session.run

    def noted(self: Session, name: str, **params: Any) -> Any:
        names.append(name)
        return run(self, name, **params)

    monkeypatch.setattr(Session, "run", noted)
    return names


def marked_connection(redshift: Redshift, mark: object) -> str:
    """An Airflow connection of type Postgres to the stand-in, marked as Redshift: a value for ``AIRFLOW_CONN_…``."""
    parts = psycopg.conninfo.conninfo_to_dict(redshift.dsn)
    return json.dumps(
        {
            "conn_type": "postgres",
            "host": parts["host"],
            "port": int(parts["port"]),
            "login": parts["user"],
            "password": parts["password"],
            "schema": parts["dbname"],
            "extra": {"redshift": mark},
        }
    )
