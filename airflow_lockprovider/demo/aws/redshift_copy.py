"""Redshift's ``COPY table FROM 's3://...'``, carried out against the simulated S3 and a Postgres table.

Known: FORMAT [AS] PARQUET, FORMAT [AS] CSV or CSV, IGNOREHEADER, DELIMITER, MANIFEST, REGION, IAM_ROLE, and
without effect COMPUPDATE and STATUPDATE. As on AWS, every object whose key begins with the given text is
loaded, columns are matched by position, and all rows come in the statement's own transaction. Unlike AWS, an
empty CSV field is NULL in text columns too.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from airflow_lockprovider.demo.aws import s3_store, sql_text
from airflow_lockprovider.demo.aws.s3_store import S3Path

_NAME = r'(?:"[^"]+"|[\w$]+)'
_COPY = re.compile(
    rf"""COPY \s+ (?P<table>{_NAME}(?:\.{_NAME})*) \s*
         (?P<columns>\([^)]*\))? \s*
         FROM \s+ '(?P<url>s3://[^']+)' (?P<options>.*?) ;? \s* $""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_OPTION = re.compile(
    r"""\s* (?:
        (?P<format> (?:FORMAT \s+ (?:AS \s+)?)? (?P<format_name> PARQUET | CSV) )
      | IAM_ROLE \s+ (?: DEFAULT | '[^']*' )
      | IGNOREHEADER \s+ (?:AS \s+)? (?P<skip> \d+ )
      | DELIMITER \s+ (?:AS \s+)? '(?P<delimiter> [^']+ )'
      | REGION \s+ (?:AS \s+)? '(?P<region> [^']+ )'
      | (?: COMPUPDATE | STATUPDATE ) (?: \s+ (?: ON | OFF | TRUE | FALSE | PRESET ) )?
      | (?P<manifest> MANIFEST )
    ) (?= \s | $ )""",
    re.VERBOSE | re.IGNORECASE,
)
_CHUNK = 1 << 20


class CopyError(Exception):
    """COPY cannot be carried out; the text is the statement's error."""


@dataclass(frozen=True, slots=True)
class RedshiftCopy:
    table: str
    columns: str
    path: S3Path
    format: str
    skip: int = 0
    delimiter: str = ","
    region: str | None = None
    manifest: bool = False

    @classmethod
    def parse(cls, statement: str) -> RedshiftCopy | None:
        """The COPY that this statement is; None for any other statement, Postgres' own COPY included."""
        found = _COPY.match(sql_text.without_comments(statement))
        return found and cls._from_match(found)

    @classmethod
    def _from_match(cls, found: re.Match[str]) -> RedshiftCopy:
        options: dict[str, str] = {}
        rest = found["options"].rstrip()
        while rest:
            option = _OPTION.match(rest)
            if option is None:
                raise CopyError(
                    f"COPY {found['table']}: the simulated Redshift does not know the option at {rest.strip()[:40]!r}"
                )
            options |= {name: value for name, value in option.groupdict().items() if value is not None}
            rest = rest[option.end() :]
        if "format_name" not in options:
            raise CopyError(f"COPY {found['table']}: the simulated Redshift reads FORMAT PARQUET and CSV only; say one")
        return cls(
            table=found["table"],
            columns=found["columns"] or "",
            path=S3Path.parse(found["url"]),
            format=options["format_name"].upper(),
            skip=int(options.get("skip", 0)),
            delimiter=options.get("delimiter", ","),
            region=options.get("region"),
            manifest="manifest" in options,
        )

    def run(self, cursor: psycopg.Cursor[Any], cluster_region: str) -> int:
        """Load the rows in the cursor's transaction, and say how many."""
        rows = 0
        for stored in self._objects(cluster_region):
            try:
                with tempfile.TemporaryDirectory() as folder:
                    self._load(cursor, self._as_csv(stored, Path(folder)))
            except psycopg.DataError as error:
                error.add_note(f"while loading s3://{stored.bucket_name}/{stored.name}")
                raise
            rows += cursor.rowcount
        return rows

    def _load(self, cursor: psycopg.Cursor[Any], file: Path) -> None:
        # Table and columns are the statement's own text, with the rights of the one who sent it.
        statement = sql.SQL("COPY {} {} FROM STDIN (FORMAT csv, DELIMITER {})").format(
            sql.SQL(self.table),
            sql.SQL(self.columns),
            sql.Literal("," if self.format == "PARQUET" else self.delimiter),
        )
        with cursor.copy(statement) as into, file.open("rb") as lines:
            for _ in range(self.skip):
                lines.readline()
            while chunk := lines.read(_CHUNK):
                into.write(chunk)

    def _as_csv(self, stored: Any, folder: Path) -> Path:
        file = folder / "object"
        file.write_bytes(stored.value)
        if self.format == "CSV":
            return file
        import duckdb

        with duckdb.connect() as connection:
            try:
                rows = f"SELECT * FROM read_parquet('{file}')"
                connection.execute(f"COPY ({rows}) TO '{folder / 'rows'}' (FORMAT csv, HEADER false)")
            except duckdb.Error as error:
                raise CopyError(f"s3://{stored.bucket_name}/{stored.name} is not valid Parquet: {error}") from error
        return folder / "rows"

    def _objects(self, cluster_region: str) -> list[Any]:
        self._check_region(self.path.bucket, cluster_region)
        found = self.path.objects()
        if not found:
            raise CopyError(f"The specified S3 prefix '{self.path.key}' does not exist in bucket {self.path.bucket}")
        if self.manifest:
            return list(self._listed(found[0], cluster_region))
        if self.format == "PARQUET":
            # Beside the data of a Spark job lie _SUCCESS and its like.
            return [each for each in found if each.size and not each.name.rpartition("/")[2].startswith(("_", "."))]
        return found

    def _listed(self, manifest: Any, cluster_region: str) -> Iterator[Any]:
        for entry in json.loads(manifest.value)["entries"]:
            path = S3Path.parse(entry["url"])
            self._check_region(path.bucket, cluster_region)
            stored = s3_store.find_version(path.bucket, path.key)
            if stored is not None:
                yield stored
            elif entry.get("mandatory"):
                raise CopyError(f"The mandatory manifest entry {path} does not exist")

    def _check_region(self, bucket: str, cluster_region: str) -> None:
        found = s3_store.find_bucket(bucket)
        if found is None:
            raise CopyError(f"The specified bucket does not exist: {bucket}")
        if self.region and self.format == "PARQUET":
            raise CopyError("REGION is not supported for COPY from columnar formats")
        expected = self.region or cluster_region
        if found.region_name != expected:
            raise CopyError(
                "The bucket you are attempting to access must be addressed using the specified endpoint: "
                f"bucket {bucket} is in {found.region_name}, the cluster in {cluster_region}"
            )
