"""Loads the SQL of a dialect: named statements, and scripts for the schema. No SQL stands in Python."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib.resources import files

from airflow_lockprovider.lease.settings import check_schema

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_CODE = (
    "functions_internal.sql",
    "functions.sql",
    "functions_standby.sql",
    "guard.sql",
    "functions_once.sql",
    "functions_alerts.sql",
    "views.sql",
    "roles.sql",
)
_CALLS = ("calls.sql", "calls_standby.sql", "calls_alerts.sql", "calls_page.sql", "calls_doctor.sql")


class Statements:
    """The SQL of one dialect, written for one schema. Placeholders follow psql: ``:"schema"`` and ``:'schema'``."""

    def __init__(self, dialect: str, schema: str) -> None:
        self._folder = files("airflow_lockprovider.lease") / "sql" / dialect
        self.schema = check_schema(schema)
        self._calls: dict[str, str] = {}
        for script in _CALLS:
            if (self._folder / script).is_file():  # a dialect may lack one
                _, *parts = _NAME.split(self.script(script))
                self._calls |= {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}

    def __getitem__(self, name: str) -> str:
        return self._calls[name]

    def script(self, name: str) -> str:
        """Text of one file, with the schema filled in."""
        text = (self._folder / name).read_text(encoding="utf-8")
        return text.replace(':"schema"', f'"{self.schema}"').replace(":'schema'", f"'{self.schema}'")

    @property
    def qualifier(self) -> str:
        """The schema's name for SQL that people see: quoted only where it may be a reserved word."""
        return self.schema if self.schema == "lockprovider" else f'"{self.schema}"'

    @property
    def migrations(self) -> list[tuple[int, str]]:
        """Number and text of every migration, in order."""
        found = sorted(entry.name for entry in (self._folder / "migrations").iterdir() if entry.name.endswith(".sql"))
        return [(int(name.split("_", 1)[0]), self.script(f"migrations/{name}")) for name in found]

    @property
    def code(self) -> list[str]:
        """Functions, views and grants: they hold no data and are made anew by every upgrade."""
        return [self.script(name) for name in _CODE]

    @property
    def digest(self) -> str:
        """Changes when functions, views or grants change."""
        return hashlib.sha256("\n".join(self.code).encode()).hexdigest()[:16]


@cache
def statements(dialect: str, schema: str) -> Statements:
    """The statements of a dialect, read once per process."""
    return Statements(dialect, schema)
