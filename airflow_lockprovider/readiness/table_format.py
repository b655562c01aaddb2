"""Prefixes that hold a table of Iceberg or Delta: their files are more than files."""

from __future__ import annotations

from collections.abc import Iterable

ICEBERG = (
    "{} holds an Iceberg table ({}): its metadata names the files by absolute paths in the source bucket, so the "
    "copy is no table of its own. Read it in its own region, replicate it with S3 Tables, or set "
    "allow_iceberg=True to wait for the bare files"
)
DELTA = (
    "{} holds a Delta table ({}): a commit may be copied before its files, so read it only after this wait, and "
    "let no writer commit meanwhile"
)


class TableFormats:
    """Looks at keys while they pass by, and remembers the first of each kind."""

    def __init__(self) -> None:
        self.iceberg = ""
        self.delta = ""

    def see(self, keys: Iterable[str]) -> None:
        """Look at some keys."""
        if self.iceberg and self.delta:
            return
        for key in keys:
            if not self.iceberg and key.endswith(".metadata.json") and "metadata/" in key:
                self.iceberg = key
            if not self.delta and "_delta_log/" in key:
                self.delta = key
