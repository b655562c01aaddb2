"""Rows in the formats of Airflow's own commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_lockprovider.desk.cells import Row, for_people, for_programs


def print_rows(rows: Sequence[Row], output: str, columns: Sequence[str]) -> None:
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
