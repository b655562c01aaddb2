"""How a connection to Redshift is opened without Airflow."""

from __future__ import annotations

from importlib import import_module
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from airflow_lockprovider.lease import driver
from airflow_lockprovider.lease.errors import ConfigurationError

_PORT = 5439
_OPTIONS: dict[str, Any] = {"true": True, "false": False}
LIBPQ_DEFAULTS = {
    **driver.CONNECT_DEFAULTS,
    "client_encoding": "utf8",  # Redshift says UNICODE, which Python does not know
}


def opener(dsn: str) -> driver.ConnectionFactory:
    """Opens connections for a DSN: ``redshift://…`` by redshift_connector, anything else by psycopg2 or psycopg."""
    return lambda: _by_connector(dsn) if urlsplit(dsn).scheme == "redshift" else _by_libpq(dsn)


def _by_libpq(dsn: str) -> driver.Connection:
    try:
        module = import_module("psycopg2")
    except ImportError:
        module = import_module("psycopg")
    return module.connect(dsn, **LIBPQ_DEFAULTS)


def _by_connector(dsn: str) -> driver.Connection:
    try:
        module = import_module("redshift_connector")
    except ImportError as error:
        raise ConfigurationError(
            "a redshift:// DSN needs redshift_connector: pip install 'airflow-lockprovider[redshift]', "
            "or use a postgresql:// DSN"
        ) from error
    parts = urlsplit(dsn)
    arguments: dict[str, Any] = {
        "host": parts.hostname or "localhost",
        "port": parts.port or _PORT,
        "database": parts.path.lstrip("/") or "dev",
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        **{name: _OPTIONS.get(value, value) for name, value in parse_qsl(parts.query)},
    }
    return module.connect(**arguments)
