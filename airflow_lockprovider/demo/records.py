"""What the databases know about a run of the demo: one statement per file in ``sql/``."""

from __future__ import annotations

from importlib.resources import files
from typing import Any


def records(dsn: str, name: str, **params: Any) -> list[dict[str, Any]]:
    """The rows of ``sql/<name>.sql`` on the database behind ``dsn``."""
    import psycopg
    from psycopg.rows import dict_row

    statement = files(__package__).joinpath("sql", f"{name}.sql").read_bytes()
    with psycopg.connect(dsn, autocommit=True, connect_timeout=10) as connection:
        with connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute(statement, params)
            return cursor.fetchall()
