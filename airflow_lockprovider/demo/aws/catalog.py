"""What a crawl finds under an S3 path, and how it gets into the region's Glue catalog."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_lockprovider.demo.aws import s3_store
from airflow_lockprovider.demo.aws.s3_store import S3Path
from airflow_lockprovider.demo.aws.settings import matches

_PARTITION_FOLDERS = re.compile(r"([^/=]+)=([^/]+)/")
_PARQUET, _CSV = "parquet", "csv"
_HADOOP = "org.apache.hadoop.hive"
_STORAGE: dict[str, dict[str, Any]] = {
    _PARQUET: {
        "InputFormat": f"{_HADOOP}.ql.io.parquet.MapredParquetInputFormat",
        "OutputFormat": f"{_HADOOP}.ql.io.parquet.MapredParquetOutputFormat",
        "SerdeInfo": {
            "SerializationLibrary": f"{_HADOOP}.ql.io.parquet.serde.ParquetHiveSerDe",
            "Parameters": {"serialization.format": "1"},
        },
    },
    _CSV: {
        "InputFormat": "org.apache.hadoop.mapred.TextInputFormat",
        "OutputFormat": f"{_HADOOP}.ql.io.HiveIgnoreKeyTextOutputFormat",
        "SerdeInfo": {
            "SerializationLibrary": f"{_HADOOP}.serde2.lazy.LazySimpleSerDe",
            "Parameters": {"field.delim": ","},
        },
    },
}
_GLUE_TYPES = {
    "BIGINT": "bigint",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "DOUBLE": "double",
    "FLOAT": "float",
    "INTEGER": "int",
    "SMALLINT": "smallint",
    "TIMESTAMP": "timestamp",
    "TINYINT": "tinyint",
}


class CannotCrawl(Exception):
    """A target cannot be read: the crawl fails with this message."""


@dataclass(slots=True)
class FoundPartition:
    location: str
    objects: int = 0
    bytes: int = 0


@dataclass(slots=True)
class FoundTable:
    """One table per S3 target, named like its last folder; its ``key=value`` folders are partitions."""

    name: str
    location: str
    classification: str
    columns: list[dict[str, str]]
    partition_keys: list[str] = field(default_factory=list)
    partitions: dict[tuple[str, ...], FoundPartition] = field(default_factory=dict)
    objects: int = 0
    bytes: int = 0

    def table_input(self, crawler: str) -> dict[str, Any]:
        return {
            "Name": self.name,
            "TableType": "EXTERNAL_TABLE",
            "Owner": "owner",
            "PartitionKeys": [{"Name": key, "Type": "string"} for key in self.partition_keys],
            "Parameters": {
                **self._parameters(self.objects, self.bytes),
                "UPDATED_BY_CRAWLER": crawler,
                "typeOfData": "file",
            },
            "StorageDescriptor": self._storage(self.location, self.objects, self.bytes),
        }

    def partition_inputs(self) -> list[dict[str, Any]]:
        return [
            {
                "Values": list(values),
                "Parameters": self._parameters(found.objects, found.bytes),
                "StorageDescriptor": self._storage(found.location, found.objects, found.bytes),
            }
            for values, found in self.partitions.items()
        ]

    def _parameters(self, objects: int, size: int) -> dict[str, str]:
        parameters = {
            "classification": self.classification,
            "objectCount": str(objects),
            "sizeKey": str(size),
        }
        return parameters | ({"skip.header.line.count": "1"} if self.classification == _CSV else {})

    def _storage(self, location: str, objects: int, size: int) -> dict[str, Any]:
        return {
            "Location": location,
            "Columns": self.columns,
            "Parameters": self._parameters(objects, size),
            **_STORAGE[self.classification],
        }


@dataclass(slots=True)
class CatalogChanges:
    tables_created: int = 0
    tables_updated: int = 0
    partitions_created: int = 0


def look_at(url: str, table_prefix: str = "", skip: str | None = None) -> FoundTable | None:
    """What lies under this path now, without the folders that match ``skip``; None when nothing does."""
    path = S3Path.parse(url)
    if s3_store.find_bucket(path.bucket) is None:
        raise CannotCrawl(f"the S3 location {url} is not accessible: there is no bucket {path.bucket!r}")
    folder = S3Path(path.bucket, path.key.rstrip("/") + "/" if path.key else "")
    data = [
        found
        for found in folder.objects()
        if found.size and not _is_hidden(found.name) and not matches(skip, _folder_of(path.bucket, found.name))
    ]
    if not data:
        return None
    table = FoundTable(_table_name(folder, table_prefix), str(folder), *_schema(data[-1]))
    for found in data:
        folders = _PARTITION_FOLDERS.findall(found.name[len(folder.key) :].rpartition("/")[0] + "/")
        table.objects += 1
        table.bytes += found.size
        if folders:
            table.partition_keys = table.partition_keys or [key.lower() for key, _ in folders]
            location = _folder_of(path.bucket, found.name)
            values = tuple(value for _, value in folders)
            partition = table.partitions.setdefault(values, FoundPartition(location))
            partition.objects += 1
            partition.bytes += found.size
    return table


def write(glue: Any, database: str, crawler: str, tables: list[FoundTable]) -> CatalogChanges:
    """Put what was found into moto's catalog of one region."""
    changes = CatalogChanges()
    if database not in glue.databases:
        glue.create_database(database, {"Name": database}, {})
    known = glue.databases[database].tables
    for found in tables:
        table_input = found.table_input(crawler)
        if found.name not in known:
            glue.create_table(database, found.name, table_input)
            changes.tables_created += 1
        else:
            before = known[found.name].as_dict()["StorageDescriptor"]["Columns"]
            glue.update_table(database, found.name, table_input)
            changes.tables_updated += before != found.columns
        partitions = known[found.name].partitions
        for partition in found.partition_inputs():
            if str(partition["Values"]) in partitions:
                glue.update_partition(database, found.name, partition, partition["Values"])
            else:
                glue.create_partition(database, found.name, partition)
                changes.partitions_created += 1
    return changes


def _folder_of(bucket: str, key: str) -> str:
    return str(S3Path(bucket, key.rpartition("/")[0] + "/"))


def _is_hidden(key: str) -> bool:
    return key.rpartition("/")[2].startswith(("_", "."))


def _table_name(folder: S3Path, table_prefix: str) -> str:
    last = folder.key.rstrip("/").rpartition("/")[2] or folder.bucket
    return re.sub(r"[^a-z0-9_]", "_", (table_prefix + last).lower())


def _schema(sample: Any) -> tuple[str, list[dict[str, str]]]:
    import duckdb

    content: bytes = sample.value
    classification = _PARQUET if content[:4] == b"PAR1" else _CSV
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        file = Path(folder, "sample")
        file.write_bytes(content)
        read = f"read_{classification}('{file}'{', header = true' if classification == _CSV else ''})"
        try:
            rows = connection.execute(f"DESCRIBE SELECT * FROM {read}").fetchall()
        except duckdb.Error as error:
            raise CannotCrawl(f"{sample.name}: neither Parquet nor CSV with a header ({error})") from error
    return classification, [{"Name": str(name).lower(), "Type": _glue_type(str(kind))} for name, kind, *_ in rows]


def _glue_type(kind: str) -> str:
    return kind.lower() if kind.startswith("DECIMAL") else _GLUE_TYPES.get(kind, "string")
