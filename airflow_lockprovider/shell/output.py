"""Rows on stdout with the standard library alone; tables look like those of `airflow locks`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from airflow_lockprovider.desk.cells import Row, for_people, for_programs

FORMATS = ("table", "plain", "json")


def print_rows(rows: Sequence[Row], output: str, columns: Sequence[str]) -> None:
    """Print rows: only ``columns`` as a table or plain text, everything as JSON."""
    if output == "json":
        print(json.dumps([for_programs(row) for row in rows], indent=2, ensure_ascii=False, default=str))
    elif not rows:
        print("No data found")
    else:
        for line in lines(rows, columns, framed=output == "table"):
            print(line)


def lines(rows: Sequence[Row], columns: Sequence[str], *, framed: bool) -> Iterator[str]:
    """The lines of a table, with aligned columns; ``framed``: with rules between them."""
    cells = [list(columns), *(list(for_people(row, columns).values()) for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
    for number, line in enumerate(cells):
        padded = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        yield (" | " if framed else " ").join(padded).rstrip()
        if framed and number == 0:
            yield "=+=".join("=" * width for width in widths)
