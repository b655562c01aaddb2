"""Rows as people and as programs like to read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

Row = Mapping[str, Any]

_HELD = ("held_for", "held", "held_avg", "held_p95", "held_max", "held_total")
_DURATIONS = frozenset((*_HELD, "expires_in", "waiting_for", "waited", "waited_avg", "waited_max", "for"))
"""Keys whose values are seconds."""


def for_people(row: Row, columns: Iterable[str]) -> dict[str, str]:
    """Some columns, with short durations and times."""
    return {name: _short(name, row[name]) for name in columns}


def for_programs(row: Row) -> dict[str, Any]:
    """Everything; durations under a name that says the unit, times in ISO 8601."""
    plain: dict[str, Any] = {}
    for name, value in row.items():
        if name in _DURATIONS:
            plain[f"{name}_seconds"] = None if value is None else round(float(value), 3)
        elif isinstance(value, datetime):
            plain[name] = value.astimezone(UTC).isoformat()
        elif isinstance(value, list):
            plain[name] = [for_programs(entry) if isinstance(entry, Mapping) else entry for entry in value]
        else:
            plain[name] = value
    return plain


def _short(name: str, value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in _DURATIONS:
        return duration(value)
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
    return str(value)


def duration(seconds: float) -> str:
    """Short, for people: ``4.2s``, ``3m 10s``, ``2h 5m``, ``3d 4h``."""
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours}h"
    return f"{hours}h {minutes}m" if hours else f"{minutes}m {rest}s"
