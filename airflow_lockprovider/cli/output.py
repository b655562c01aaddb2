"""Rows as people and as programs like to read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

Row = Mapping[str, Any]

_DURATIONS = ("held_for", "expires_in", "waiting_for", "waited", "held")
"""Keys whose values are seconds."""


def print_rows(rows: Sequence[Row], output: str, *, columns: Sequence[str]) -> None:
    """Print rows in one of Airflow's formats: only ``columns`` as a table or plain text, everything as JSON or YAML."""
    from airflow.cli.simple_table import AirflowConsole
    from rich.markup import escape

    console = AirflowConsole()
    if output in ("json", "yaml"):
        # Not print_as(): it turns numbers and truth values into text.
        show: Any = console.print_as_json if output == "json" else console.print_as_yaml
        show([for_programs(row) for row in rows])
    else:
        shown = [for_people(row, columns) for row in rows]
        if output == "table":
            shown = [{name: escape(text) for name, text in row.items()} for row in shown]
        console.print_as(data=shown, output=output)


def for_people(row: Row, columns: Iterable[str]) -> dict[str, str]:
    """Some columns, with short durations and times."""
    return {name: _short(name, row[name]) for name in columns}


def for_programs(row: Row) -> dict[str, Any]:
    """Everything; durations under a name that says the unit, times in ISO 8601."""
    plain: dict[str, Any] = {}
    for name, value in row.items():
        if name in _DURATIONS:
            plain[f"{name}_seconds"] = None if value is None else round(value, 3)
        elif isinstance(value, datetime):
            plain[name] = value.astimezone(UTC).isoformat()
        elif isinstance(value, list):
            plain[name] = [for_programs(entry) for entry in value]
        else:
            plain[name] = value
    return plain


def _short(name: str, value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in _DURATIONS:
        return _duration(value)
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
    return str(value)


def _duration(seconds: float) -> str:
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours}h"
    return f"{hours}h {minutes}m" if hours else f"{minutes}m {rest}s"
