"""Named statements on one connection to Redshift."""

from __future__ import annotations

import re
import struct
from typing import Any

from airflow_lockprovider.lease import driver
from airflow_lockprovider.lease.errors import StoreUnavailable
from airflow_lockprovider.lease.statements import Statements

Row = dict[str, Any]
_PLACE = re.compile(r"%\((\w+)\)s")


class Session:
    """Runs the named statements of the dialect. A list given for a placeholder stands for several values."""

    def __init__(self, connection: driver.Connection, sql: Statements) -> None:
        self.connection, self.sql = connection, sql

    def run(self, name: str, *, fence: str = "", **params: Any) -> list[Row]:
        """Run one statement and return its rows by column name."""
        return self.execute(self.sql[name].replace(":fence", fence), params)

    def execute(self, text: str, params: dict[str, Any] | None = None) -> list[Row]:
        """The same for a text. Only ``%s`` reaches the driver: that is what all of them understand."""
        text, values = bind(text, params or {})
        try:
            with driver.translated(), driver.plain_cursor(self.connection) as cursor:
                if values:
                    cursor.execute(text, values)
                else:
                    cursor.execute(text)
                if cursor.description is None:
                    return []
                names = [_text(column[0]) for column in cursor.description]
                return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        except (OSError, struct.error) as error:  # redshift_connector lets the errors of its socket through
            discard(self.connection)
            raise StoreUnavailable(f"the connection to Redshift broke: {error}") from error
        except StoreUnavailable as error:
            if type(error.__cause__).__name__ == "InterfaceError":
                discard(self.connection)
            raise


def discard(connection: driver.Connection) -> None:
    """Close it for good. redshift_connector's has no memory of its own for that."""
    driver.close(connection)
    if not hasattr(connection, "closed"):
        connection.closed = True


def bind(text: str, params: dict[str, Any]) -> tuple[str, list[Any]]:
    """Replace named placeholders by ``%s``, with the values in their order."""
    values: list[Any] = []

    def place(match: re.Match[str]) -> str:
        value = params[match[1]]
        if isinstance(value, list | tuple):
            values.extend(value)
            return ", ".join(["%s"] * len(value)) or "null"
        values.append(value)
        return "%s"

    return _PLACE.sub(place, text), values


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
