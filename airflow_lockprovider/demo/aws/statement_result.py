"""The rows of a finished statement, as GetStatementResult sends them."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import psycopg

_PAGE = 1000
_INTEGERS = {"int2", "int4", "int8", "oid"}
_FLOATS = {"float4", "float8"}


@dataclass(frozen=True, slots=True)
class StatementResult:
    columns: list[dict[str, Any]]
    records: list[list[dict[str, Any]]]
    size: int

    @classmethod
    def of(cls, cursor: psycopg.Cursor[Any]) -> StatementResult | None:
        """None for a statement that returns no rows, such as INSERT."""
        answer = cursor.pgresult
        if cursor.description is None or answer is None:
            return None
        types = [_type_name(column.type_code) for column in cursor.description]
        raw = [[answer.get_value(row, column) for column in range(len(types))] for row in range(answer.ntuples)]
        columns = [_column(column.name, kind) for column, kind in zip(cursor.description, types, strict=True)]
        records = [[_field(value, kind) for value, kind in zip(row, types, strict=True)] for row in raw]
        return cls(columns, records, sum(len(value or b"") for row in raw for value in row))

    def page(self, token: str | None) -> dict[str, Any]:
        first = int(token or 0)
        end = first + _PAGE
        page = {
            "ColumnMetadata": self.columns,
            "Records": self.records[first:end],
            "TotalNumRows": len(self.records),
        }
        return page | ({"NextToken": str(end)} if end < len(self.records) else {})


def _type_name(oid: int) -> str:
    known = psycopg.adapters.types.get(oid)
    return known.name if known else "varchar"


def _column(name: str, kind: str) -> dict[str, Any]:
    is_number = kind in _INTEGERS | _FLOATS | {"numeric"}
    return {
        "name": name,
        "label": name,
        "typeName": "varchar" if kind == "text" else kind,
        "isCaseSensitive": not is_number,
        "isCurrency": False,
        "isSigned": is_number,
        "nullable": 1,
    }


def _field(value: bytes | None, kind: str) -> dict[str, Any]:
    if value is None:
        return {"isNull": True}
    text = value.decode()
    if kind in _INTEGERS:
        return {"longValue": int(text)}
    if kind in _FLOATS:
        return {"doubleValue": float(text)}
    if kind == "bool":
        return {"booleanValue": text == "t"}
    if kind == "bytea":
        return {"blobValue": base64.b64encode(bytes.fromhex(text.removeprefix("\\x"))).decode()}
    # Numbers of any precision, dates and all else come as Postgres writes them, as on AWS.
    return {"stringValue": text}
