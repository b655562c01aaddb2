"""Leases over an Airflow connection."""

from __future__ import annotations

import json
import threading
from typing import Any, cast

from airflow_lockprovider import config
from airflow_lockprovider.compat import BaseHook, Connection
from airflow_lockprovider.hooks.quick import open_quickly
from airflow_lockprovider.lease.driver import CONNECT_DEFAULTS, WRITABLE
from airflow_lockprovider.lease.driver import Connection as DatabaseConnection
from airflow_lockprovider.lease.engine import LeaseEngine
from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.lease.settings import LeaseSettings
from airflow_lockprovider.lease.store import Store

_POSTGRES = ("postgres", "postgresql")
_REDSHIFT = "redshift"
_POSTGRES_DEFAULTS = {**CONNECT_DEFAULTS, **WRITABLE}


class LeaseHook(LeaseEngine, BaseHook):
    """All verbs of `LeaseEngine`, over an Airflow connection to Postgres or Redshift.

    Redshift: a connection of type ``redshift`` (redshift_connector), or a Postgres one with ``{"redshift": true}`` in
    its extra. See docs/redshift.md.

    Nothing is opened, and the connection is not even looked up, before the first verb.

    :param lease_conn_id: connection of the database with the locks; default ``[lockprovider] lease_conn_id``
    :param schema: schema of the lock tables; default ``[lockprovider] schema``
    :param settings: durations; default from ``[lockprovider]``
    :param quick: take psycopg2 where that will do, because it is loaded soon; else PostgresHook decides on the driver
    """

    conn_name_attr = "lease_conn_id"
    default_conn_name = config.DEFAULT_CONN_ID
    hook_name = "Lease"

    def __init__(
        self,
        lease_conn_id: str | None = None,
        *,
        schema: str | None = None,
        settings: LeaseSettings | None = None,
        quick: bool = False,
        logger_name: str | None = None,
    ) -> None:
        BaseHook.__init__(self, logger_name=logger_name)
        self.lease_conn_id = lease_conn_id or config.lease_conn_id()
        self._airflow_connection: Connection | None = None
        self._quick = quick
        self._schema = schema or config.schema()
        self._store: Store | None = None
        self._making = threading.Lock()
        # The store is made by the property below, when it is first asked for.
        LeaseEngine.__init__(self, cast("Store", None), settings or config.lease_settings())

    @property
    def store(self) -> Store:
        """Where the leases are kept. Which dialect, only the connection knows: so it is made when first asked for."""
        if self._store is None:
            # Not under the lock: looking a connection up asks Airflow, and in a triggerer others run meanwhile.
            kind = _redshift_store() if _is_redshift(self._resolved()) else Store
            with self._making:
                if self._store is None:
                    self._store = kind(self.get_conn, schema=self._schema)
        return self._store

    @store.setter
    def store(self, store: Store) -> None:
        self._store = store

    def get_conn(self) -> DatabaseConnection:
        """A new database connection.

        Raises ConfigurationError if the Airflow connection is missing or of another type.
        """
        connection = self._resolved()
        if connection.conn_type == _REDSHIFT:
            return self._redshift_connection(connection)
        if self._quick and (opened := open_quickly(connection)) is not None:
            return opened
        from airflow.providers.postgres.hooks.postgres import PostgresHook

        return PostgresHook(postgres_conn_id=self.lease_conn_id, connection=connection).get_conn()

    def close(self) -> None:
        if self._store is not None:
            super().close()

    async def resolve(self) -> None:
        """Look the Airflow connection up without blocking an event loop; later verbs then need no supervisor."""
        if self._airflow_connection is None:
            try:
                found = await self.aget_connection(self.lease_conn_id)
            except Exception as error:
                raise self._missing(error) from error
            self._airflow_connection = self._usable(found)

    def _resolved(self) -> Connection:
        if self._airflow_connection is None:
            try:
                found = self.get_connection(self.lease_conn_id)
            except Exception as error:
                raise self._missing(error) from error
            self._airflow_connection = self._usable(found)
        return self._airflow_connection

    def _missing(self, error: Exception) -> Exception:
        if type(error).__name__ not in ("AirflowNotFoundException", "AirflowRuntimeError"):
            return error
        return ConfigurationError(
            f"connection {self.lease_conn_id!r} for the locks cannot be read ({error}): add it, "
            "or name another one with lease_conn_id= or [lockprovider] lease_conn_id"
        )

    def _redshift_connection(self, connection: Connection) -> DatabaseConnection:
        try:
            from airflow.providers.amazon.aws.hooks.redshift_sql import RedshiftSQLHook
        except ImportError as error:
            raise ConfigurationError(
                f"connection {self.lease_conn_id!r} is a Redshift one, which needs redshift_connector ({error}): "
                "pip install 'airflow-lockprovider[redshift]', or use a Postgres connection with "
                'extra {"redshift": true}'
            ) from error

        hook = RedshiftSQLHook(redshift_conn_id=self.lease_conn_id)
        hook.conn = connection  # looked up already; in a triggerer's thread nobody could answer
        return hook.get_conn()

    def _usable(self, connection: Connection) -> Connection:
        if connection.conn_type not in (*_POSTGRES, _REDSHIFT):
            raise ConfigurationError(
                f"connection {self.lease_conn_id!r} is of type {connection.conn_type!r}: "
                "locks need a Postgres one or a Redshift one"
            )
        if connection.conn_type == _REDSHIFT:
            defaults: dict[str, Any] = {}
        else:
            defaults = _libpq_defaults() if _is_redshift(connection) else _POSTGRES_DEFAULTS
        return Connection(
            conn_id=connection.conn_id,
            conn_type=connection.conn_type,
            host=connection.host,
            login=connection.login,
            password=connection.password,
            schema=connection.schema,
            port=connection.port,
            extra=json.dumps({**defaults, **connection.extra_dejson}),
        )


# Redshift's modules are loaded where there is one: a task's process should begin soon.
def _redshift_store() -> type[Store]:
    from airflow_lockprovider.lease.redshift import RedshiftStore

    return RedshiftStore


def _libpq_defaults() -> dict[str, Any]:
    from airflow_lockprovider.lease.redshift.connection import LIBPQ_DEFAULTS

    return dict(LIBPQ_DEFAULTS)


def _is_redshift(connection: Connection) -> bool:
    marked = connection.extra_dejson.get("redshift", False)
    return connection.conn_type == _REDSHIFT or str(marked).lower() in ("true", "1", "yes")
