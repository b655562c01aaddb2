"""Leases kept in a database: the core of airflow_lockprovider. It knows no Airflow and needs the standard library only.

engine = connect("postgresql://…")
engine.init_schema()
with engine.hold("dwh.sales") as lease:
    with engine.fenced(lease) as cursor:
        cursor.execute("insert into …")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow_lockprovider.lazy import names_from

if TYPE_CHECKING:
    from airflow_lockprovider.lease.engine import LeaseEngine
    from airflow_lockprovider.lease.errors import (
        ConfigurationError,
        LeaseLost,
        LeaseWaitTimeout,
        LockProviderError,
        SchemaOutdated,
        StoreUnavailable,
    )
    from airflow_lockprovider.lease.keeper import Keeper
    from airflow_lockprovider.lease.lease_set import LeaseSet
    from airflow_lockprovider.lease.lock import Lock
    from airflow_lockprovider.lease.model import Blocker, Busy, Lease, Waiter
    from airflow_lockprovider.lease.redshift import RedshiftStore as RedshiftStore
    from airflow_lockprovider.lease.settings import LeaseSettings
    from airflow_lockprovider.lease.store import Store as Store

__all__ = [
    "Blocker",
    "Busy",
    "ConfigurationError",
    "Keeper",
    "Lease",
    "LeaseEngine",
    "LeaseLost",
    "LeaseSet",
    "LeaseSettings",
    "LeaseWaitTimeout",
    "Lock",
    "LockProviderError",
    "SchemaOutdated",
    "StoreUnavailable",
    "Waiter",
    "connect",
]

# Where they live. Loaded when they are first used: a DAG file needs a Lock when it is parsed, and no engine.
__getattr__ = names_from(
    __name__,
    {
        "Blocker": "model",
        "Busy": "model",
        "ConfigurationError": "errors",
        "Keeper": "keeper",
        "Lease": "model",
        "LeaseEngine": "engine",
        "LeaseLost": "errors",
        "LeaseSet": "lease_set",
        "LeaseSettings": "settings",
        "LeaseWaitTimeout": "errors",
        "Lock": "lock",
        "LockProviderError": "errors",
        "RedshiftStore": "redshift",
        "SchemaOutdated": "errors",
        "Store": "store",
        "StoreUnavailable": "errors",
        "Waiter": "model",
    },
)


def connect(
    dsn: str, dialect: str = "postgres", schema: str = "lockprovider", settings: LeaseSettings | None = None
) -> LeaseEngine:
    """An engine over a database, without Airflow.

    ``dsn`` is a libpq connection string or URI. Nothing is opened before the first verb. Needs psycopg or psycopg2.
    With ``dialect="redshift"`` a ``redshift://…`` URI is possible too, which needs redshift_connector.
    """
    from airflow_lockprovider.lease import driver
    from airflow_lockprovider.lease.engine import LeaseEngine
    from airflow_lockprovider.lease.errors import ConfigurationError

    if dialect == "redshift":
        from airflow_lockprovider.lease.redshift import RedshiftStore
        from airflow_lockprovider.lease.redshift.connection import opener

        return LeaseEngine(RedshiftStore(opener(dsn), schema=schema), settings)
    if dialect != "postgres":
        raise ConfigurationError(f"dialect={dialect!r} is unknown: use 'postgres' or 'redshift'")

    from airflow_lockprovider.lease.store import Store

    def open_connection() -> Any:
        try:
            module = import_module("psycopg")
        except ImportError:
            module = import_module("psycopg2")
        return module.connect(dsn, **driver.CONNECT_DEFAULTS, **driver.WRITABLE)

    return LeaseEngine(Store(open_connection, schema=schema, dialect=dialect), settings)
