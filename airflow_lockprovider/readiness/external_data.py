"""Does Redshift (Spectrum) see these partitions of an external table, and files in them?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, ClassVar, Literal

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.partition_faults import verdict_on
from airflow_lockprovider.readiness.partition_name import Partition, name_of, partitions_of, values_of
from airflow_lockprovider.readiness.probe import Probe
from airflow_lockprovider.readiness.statement import DataApi, Row, StatementFailed
from airflow_lockprovider.readiness.verdict import Status, Verdict

_ABORTS_BELIEVED = 3
"""A statement can be aborted by a restart or a queue rule; so many in a row are somebody's will."""
_LOCATION_CUT = 128
"""SVV_EXTERNAL_PARTITIONS shows no more of a location."""
_WRONG = ("does not exist", "permission denied", "not authorized", "invalid schema")


class ExternalDataProbe(Probe):
    """Asks the Redshift Data API: the catalog view SVV_EXTERNAL_PARTITIONS for each partition and, with ``min_files``,
    how many files Spectrum reads there (which costs a scan, once for each partition).

    ``target``: ``WorkgroupName`` or ``ClusterIdentifier``, ``Database``, and ``DbUser`` or ``SecretArn`` if need be.
    ``partitions``: see `partition_name`. ``missing_table``: "fail", or "wait" for a table that somebody else creates.
    """

    kind: ClassVar[str] = "redshift_external_data"
    client_services: ClassVar[Mapping[str, str]] = {"redshift-data": "redshift-data"}

    def __init__(
        self,
        clients: Mapping[str, Any],
        *,
        target: Mapping[str, str],
        schema: str,
        table: str,
        partitions: Sequence[Any],
        location_prefix: str | None = None,
        min_files: int = 0,
        missing_table: Literal["fail", "wait"] = "fail",
        max_transient_errors: int = 10,
    ) -> None:
        super().__init__(clients, max_transient_errors=max_transient_errors)
        self.schema, self.table = schema, table
        self.partitions: list[Partition] = partitions_of(partitions)
        self.location_prefix = location_prefix
        self.min_files = min_files
        self.missing_table = missing_table
        self._where = target.get("WorkgroupName") or target.get("ClusterIdentifier") or ""
        self._api = DataApi(self._request, target)
        self._keys: list[str] | None = None
        self._visible: set[int] = set()
        self._there: set[int] = set()
        self._aborts = 0

    def _begin(self) -> Verdict:
        self.must_begin = False
        return self._step()

    def _step(self) -> Verdict:
        try:
            verdict = self._look()
        except StatementFailed as failure:
            return self._failed(failure)
        self._aborts = 0
        return verdict

    def _failed(self, failure: StatementFailed) -> Verdict:
        said = f"{self._described()} answered: {failure}"
        if failure.status == "ABORTED":
            self._aborts += 1
            if self._aborts < _ABORTS_BELIEVED:
                return self._waiting(f"{said}; asking again")
        wrong = any(words in failure.message.lower() for words in _WRONG)
        return self._counted(Status.MISCONFIGURED if wrong else Status.FAILED, (), said)

    def _look(self) -> Verdict:
        if self._keys is None:
            rows = self._rows("external_columns")
            if rows is None:
                return self._waiting(f"{self._described()} is being asked for its partition keys")
            if not rows:
                missing = f"{self._described()} has no such external table, or it has no partition keys"
                return (
                    self._waiting(missing)
                    if self.missing_table == "wait"
                    else self._counted(Status.MISCONFIGURED, (), missing)
                )
            keys = [str(name) for (name,) in rows]
            try:
                for partition in self.partitions:
                    values_of(partition, keys)
            except ConfigurationError as error:
                return self._counted(Status.MISCONFIGURED, (), f"{self.schema}.{self.table}: {error}")
            self._keys = keys
        return self._look_for_partitions(self._keys)

    def _look_for_partitions(self, keys: list[str]) -> Verdict:
        missing = {
            tuple(values_of(partition, keys)): number
            for number, partition in enumerate(self.partitions)
            if number not in self._visible
        }
        if missing:
            rows = self._rows("external_partitions", wanted=_lines(missing))
            if rows is None:
                return self._waiting(f"{self._described()} is being asked for its partitions")
            for values, location in rows:
                number = missing.pop(tuple(json.loads(values)), None)
                if number is None:
                    continue
                if not self._in_place(str(location)):
                    name = name_of(self.partitions[number], keys)
                    fault = f"lies in {location}, not under {self.location_prefix}"
                    return self._counted(Status.FAILED, [(name, fault)])
                self._visible.add(number)
        unseen = [(name_of(self.partitions[number], keys), "is not visible") for number in missing.values()]
        return self._look_for_files(keys, unseen)

    def _look_for_files(self, keys: list[str], lacking: list[tuple[str, str]]) -> Verdict:
        for number in sorted(self._visible - self._there):
            if self.min_files:
                name = name_of(self.partitions[number], keys)
                rows = self._count_files(keys, values_of(self.partitions[number], keys))
                if rows is None:
                    return self._waiting(f"{self._described()} counts the files of {name}")
                if (count := int(rows[0][0])) < self.min_files:
                    lacking.append((name, f"has {count} files for Spectrum, not {self.min_files}"))
                    continue
            self._there.add(number)
        return self._counted(Status.WAIT if lacking else Status.READY, lacking)

    def _count_files(self, keys: list[str], values: list[str]) -> Sequence[Row] | None:
        condition = " AND ".join(f"{_quoted(key)} = :v{number}" for number, key in enumerate(keys))
        sql = _sql("external_files").format(table=f"{_quoted(self.schema)}.{_quoted(self.table)}", condition=condition)
        return self._api.rows(sql, {f"v{number}": value for number, value in enumerate(values)})

    def _rows(self, name: str, **more: str) -> Sequence[Row] | None:
        return self._api.rows(_sql(name), {"schema_name": self.schema, "table_name": self.table, **more})

    def _in_place(self, location: str) -> bool:
        if not self.location_prefix:
            return True
        wanted = self.location_prefix.rstrip("/") + "/"
        if len(location) >= _LOCATION_CUT:
            return location.startswith(wanted[: len(location)])
        return f"{location.rstrip('/')}/".startswith(wanted)

    def _counted(self, status: Status, faults: Sequence[tuple[str, str]], reason: str = "") -> Verdict:
        return verdict_on(
            status,
            faults,
            expected=len(self.partitions),
            arrived=len(self._there),
            about=self._described(),
            otherwise=reason or f"{self._described()} shows all partitions",
            requests=self.requests,
        )

    def _waiting(self, reason: str) -> Verdict:
        return self._counted(Status.WAIT, (), reason)

    def _described(self) -> str:
        return f"Redshift {self._where} with {self.schema}.{self.table}"

    def _memory(self) -> dict[str, Any]:
        return {
            "keys": self._keys,
            "visible": sorted(self._visible),
            "there": sorted(self._there),
            "aborts": self._aborts,
            "running": self._api.running,
        }

    def _remember(self, memory: Mapping[str, Any]) -> None:
        self._keys, self._aborts = memory["keys"], memory["aborts"]
        self._visible, self._there = set(memory["visible"]), set(memory["there"])
        self._api.running = memory["running"]


def _lines(wanted: Mapping[tuple[str, ...], int]) -> str:
    """Each partition's values as JSON, in both spellings that are in use, between newlines."""
    lines = []
    for values in wanted:
        lines += [
            json.dumps(values, ensure_ascii=False, separators=separators) for separators in ((",", ":"), (", ", ": "))
        ]
    return "\n" + "\n".join(lines) + "\n"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _sql(name: str) -> str:
    text = files("airflow_lockprovider.readiness").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    return "\n".join(line for line in text.splitlines() if not line.startswith("--"))
