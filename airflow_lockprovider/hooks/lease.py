"""Leases over an Airflow connection."""

from __future__ import annotations

import json

from airflow_lockprovider import config
from airflow_lockprovider.compat import BaseHook, Connection
from airflow_lockprovider.lease.driver import Connection as DatabaseConnection
from airflow_lockprovider.lease.engine import LeaseEngine
from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.lease.settings import LeaseSettings
from airflow_lockprovider.lease.store import Store

_POSTGRES = ("postgres", "postgresql")
_DRIVER_DEFAULTS = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
    "target_session_attrs": "read-write",
}


class LeaseHook(LeaseEngine, BaseHook):
    """All verbs of `LeaseEngine`, over an Airflow connection to Postgres.

    Nothing is opened, and the connection is not even looked up, before the first verb.

    :param lease_conn_id: connection of the database with the locks; default ``[lockprovider] lease_conn_id``
    :param schema: schema of the lock tables; default ``[lockprovider] schema``
    :param settings: durations; default from ``[lockprovider]``
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
        logger_name: str | None = None,
    ) -> None:
        BaseHook.__init__(self, logger_name=logger_name)
        self.lease_conn_id = lease_conn_id or config.lease_conn_id()
        self._airflow_connection: Connection | None = None
        LeaseEngine.__init__(
            self,
            Store(self.get_conn, schema=schema or config.schema()),
            settings or config.lease_settings(),
        )

    def get_conn(self) -> DatabaseConnection:
        """A new database connection.

        Raises ConfigurationError if the Airflow connection is missing or of another type.
        """
        from airflow.providers.postgres.hooks.postgres import PostgresHook

        return PostgresHook(postgres_conn_id=self.lease_conn_id, connection=self._resolved()).get_conn()

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

    def _usable(self, connection: Connection) -> Connection:
        if connection.conn_type not in _POSTGRES:
            raise ConfigurationError(
                f"connection {self.lease_conn_id!r} is of type {connection.conn_type!r}: locks need a Postgres one"
            )
        return Connection(
            conn_id=connection.conn_id,
            conn_type=connection.conn_type,
            host=connection.host,
            login=connection.login,
            password=connection.password,
            schema=connection.schema,
            port=connection.port,
            extra=json.dumps({**_DRIVER_DEFAULTS, **connection.extra_dejson}),
        )
