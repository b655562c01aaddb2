"""A connection by the driver that loads fastest.

Every locked task begins in a fresh process. Airflow's PostgresHook and psycopg take a quarter of a second there to be
imported, and psycopg2 a tenth of that.
"""

from __future__ import annotations

from typing import Any

from airflow_lockprovider.compat import Connection

# What stands in a connection's extra for PostgresHook and not for libpq. It goes without the hook where they say no.
_FOR_THE_HOOK = (
    "iam",
    "redshift",
    "redshift-serverless",
    "cursor",
    "cluster-identifier",
    "workgroup-name",
    "aws_conn_id",
    "sqlalchemy_scheme",
    "sqlalchemy_query",
    "azure_conn_id",
)


def open_quickly(connection: Connection) -> Any | None:
    """A psycopg2 connection with the same arguments as PostgresHook would take.

    None where it is not installed, or where the connection needs something that only the hook does.
    """
    extra = dict(connection.extra_dejson)
    if any(extra.pop(option, None) for option in _FOR_THE_HOOK):
        return None
    try:
        import psycopg2
    except ImportError:
        return None
    return psycopg2.connect(
        host=connection.host,
        user=connection.login,
        password=connection.password,
        dbname=connection.schema,
        port=connection.port,
        **extra,
    )
