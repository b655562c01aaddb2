from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from airflow_lockprovider.lease import LeaseEngine, connect

Sql = psycopg.Connection[Any]


@pytest.fixture
def admin(database: str) -> Iterator[Sql]:
    """Plain SQL as the superuser."""
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection


@pytest.fixture
def engine(database: str) -> Iterator[LeaseEngine]:
    """An engine whose tables are made."""
    engine = connect(database)
    engine.init_schema()
    yield engine
    engine.close()


@pytest.fixture
def user(database: str, admin: Sql) -> Iterator[Callable[..., str]]:
    """Makes a login role that is a member of others, and returns its DSN."""
    made: list[sql.Identifier] = []  # roles belong to the whole server, so they do not go with the database

    def make(*roles: str, attributes: str = "") -> str:
        name, password = f"user_{secrets.token_hex(4)}", secrets.token_hex(8)
        identifier = sql.Identifier(name)
        admin.execute(
            sql.SQL("create role {} login password {} " + attributes).format(identifier, sql.Literal(password))  # type: ignore[arg-type]
        )
        made.append(identifier)
        for role in roles:
            admin.execute(sql.SQL("grant {} to {}").format(sql.Identifier(role), identifier))
        parts = urlsplit(database)
        return urlunsplit(parts._replace(netloc=f"{name}:{password}@{parts.hostname}:{parts.port}"))

    yield make
    for identifier in made:
        admin.execute(sql.SQL("drop owned by {} cascade").format(identifier))
        admin.execute(sql.SQL("drop role {}").format(identifier))
