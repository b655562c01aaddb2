"""The page as Airflow mounts it, with real tokens of Airflow's simple auth manager, on a real Postgres."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from fastapi import FastAPI
from fastapi.testclient import TestClient

from airflow_lockprovider.demo.postgres import EmbeddedPostgres
from airflow_lockprovider.lease import LeaseEngine, connect
from airflow_lockprovider.plugins.locks_page import LocksPage
from airflow_lockprovider.web import warehouse

ORIGIN = "http://127.0.0.1:8080"
ROLES = (None, "viewer", "user", "op", "admin")
"""None: nobody is logged in."""


@dataclass
class Site:
    """Airflow's app, as far as a plugin sees it, under a prefix."""

    app: FastAPI
    prefix: str
    tokens: dict[str, str] = field(default_factory=dict)

    def visitor(self, role: str | None, **headers: str) -> TestClient:
        """A browser in which somebody of this role is logged in, under the role's name."""
        client = TestClient(
            self.app,
            base_url=ORIGIN,
            root_path=self.prefix,
            headers=headers,
            follow_redirects=False,
            raise_server_exceptions=False,
        )
        if role:
            client.cookies.set("_token", self.tokens[role])
        return client


def make_site(prefix: str = "") -> Site:
    """The plugin's app, mounted as the api-server does it."""
    from airflow.api_fastapi.app import init_auth_manager

    manager = init_auth_manager()
    app = FastAPI()
    for one in LocksPage().fastapi_apps:
        app.mount(one["url_prefix"], one["app"])
    users = {role: SimpleAuthManagerUser(username=role, role=role) for role in ROLES if role}
    return Site(app, prefix, {role: manager.generate_jwt(user) for role, user in users.items()})


@pytest.fixture(scope="module")
def site(airflow_db: Path) -> Site:
    return make_site()


@pytest.fixture(scope="module")
def dsn(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database with the tables of the locks, the Airflow connection dwh_default leads to it."""
    name = f"web_{os.getpid()}"
    made = postgres.create_database(name, template="template0")
    engine = connect(made)
    engine.init_schema()
    engine.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_DWH_DEFAULT", made)
        warehouse._warehouses.clear()
        yield made
    for one in warehouse._warehouses.values():
        one._threads.shutdown()
    warehouse._warehouses.clear()
    postgres.drop_database(name)


@pytest.fixture
def locks(dsn: str) -> Iterator[LeaseEngine]:
    """An engine on empty tables."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "truncate lockprovider.lock, lockprovider.lease, lockprovider.waiter, lockprovider.worker_session,"
            " lockprovider.lease_event"
        )
    engine = connect(dsn)
    yield engine
    engine.close()


@pytest.fixture
def ask(site: Site, locks: LeaseEngine) -> Callable[..., Any]:
    """GET below /lockprovider/api as a viewer; the answer's JSON."""
    client = site.visitor("viewer")

    def get(path: str, **params: Any) -> Any:
        answer = client.get(f"/lockprovider/api/{path}", params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return get
