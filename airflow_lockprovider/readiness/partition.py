"""Are these partitions in the Glue catalog, in the right place, with data behind them?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.client_error import code_of
from airflow_lockprovider.readiness.moment import moment_of
from airflow_lockprovider.readiness.partition_faults import verdict_on
from airflow_lockprovider.readiness.partition_look import PartitionLook
from airflow_lockprovider.readiness.partition_name import Partition, name_of, partitions_of, values_of
from airflow_lockprovider.readiness.probe import Probe
from airflow_lockprovider.readiness.verdict import Status, Verdict


class PartitionProbe(Probe):
    """A partition that was found complete is not looked at again, so a look costs one BatchGetPartition for each
    hundred that are missing, and one LIST for each that is new.

    ``partitions``: see `partition_name`. ``location_prefix``: they have to lie under it. ``check_region``: their
    bucket has to be in the catalog's region, as Redshift Spectrum demands. ``not_empty``: a data file has to lie
    there; with ``min_update_time``, one that was written then or later. ``missing_table``: "fail", or "wait" for a
    table that somebody else creates.
    """

    kind: ClassVar[str] = "glue_partition"
    client_services: ClassVar[Mapping[str, str]] = {"glue": "glue", "s3": "s3"}

    def __init__(
        self,
        clients: Mapping[str, Any],
        *,
        database: str,
        table: str,
        partitions: Sequence[Any],
        location_prefix: str | None = None,
        check_region: bool = True,
        not_empty: bool = True,
        min_update_time: str | None = None,
        missing_table: Literal["fail", "wait"] = "fail",
        max_transient_errors: int = 10,
    ) -> None:
        super().__init__(clients, max_transient_errors=max_transient_errors)
        self.database, self.table = database, table
        self.partitions: list[Partition] = partitions_of(partitions)
        self.missing_table = missing_table
        if min_update_time and not not_empty:
            raise ConfigurationError("min_update_time looks at data files, so it needs not_empty=True")
        self.catalog = PartitionLook(
            self._request,
            database=database,
            table=table,
            location_prefix=location_prefix,
            region=self._region() if check_region else None,
            not_empty=not_empty,
            since=moment_of(min_update_time) if min_update_time else None,
        )
        self._keys: list[str] | None = None
        self._there: set[int] = set()

    def _begin(self) -> Verdict:
        self.must_begin = False
        return self._step()

    def _step(self) -> Verdict:
        try:
            if self._keys is None and (fault := self._learn_keys()):
                return self._verdict(Status.MISCONFIGURED, fault)
            return self._look_at_missing()
        except Exception as error:
            if code_of(error) != "EntityNotFoundException" or self.missing_table != "wait":
                raise
            return self._waiting(f"there is no table {self.database}.{self.table} yet")

    def look_strictly(self) -> Verdict:
        """As ``look()``, but errors of AWS are raised: for a probe that has its own patience."""
        return self._begin()

    def _learn_keys(self) -> str:
        """Read the partition keys once; what is wrong with the table or the wish, or nothing."""
        table = self._request("glue", "get_table", DatabaseName=self.database, Name=self.table)["Table"]
        if table.get("Parameters", {}).get("table_type", "").upper() == "ICEBERG":
            return (
                f"{self.database}.{self.table} is an Iceberg table: its partitions are in its own metadata, "
                "not in the Glue catalog"
            )
        keys = [key["Name"] for key in table.get("PartitionKeys") or []]
        try:
            for partition in self.partitions:
                values_of(partition, keys)
        except ConfigurationError as error:
            return f"{self.database}.{self.table}: {error}"
        self._keys = keys
        return ""

    def _look_at_missing(self) -> Verdict:
        keys = self._keys or []
        missing = [number for number in range(len(self.partitions)) if number not in self._there]
        lacking, wrong = [], []
        findings = self.catalog.look([values_of(self.partitions[number], keys) for number in missing])
        for number, finding in zip(missing, findings, strict=True):
            name = name_of(self.partitions[number], keys)
            if finding.wrong:
                wrong.append((name, finding.wrong))
            elif finding.lacks:
                lacking.append((name, finding.lacks))
            else:
                self._there.add(number)
        if wrong:
            return self._counted(Status.FAILED, wrong)
        if lacking:
            return self._counted(Status.WAIT, lacking)
        return self._counted(Status.READY, [])

    def _counted(self, status: Status, faults: Sequence[tuple[str, str]], reason: str = "") -> Verdict:
        return verdict_on(
            status,
            faults,
            expected=len(self.partitions),
            arrived=len(self._there),
            about=f"{self.database}.{self.table}",
            otherwise=reason or "all partitions are there",
            requests=self.requests,
        )

    def _waiting(self, reason: str) -> Verdict:
        return self._counted(Status.WAIT, [], reason)

    def _described(self) -> str:
        return f"the Glue table {self.database}.{self.table} in {self._region() or 'its region'}"

    def _region(self) -> str | None:
        return getattr(getattr(self.clients.get("glue"), "meta", None), "region_name", None)

    def _memory(self) -> dict[str, Any]:
        return {"keys": self._keys, "there": sorted(self._there)}

    def _remember(self, memory: Mapping[str, Any]) -> None:
        self._keys, self._there = memory["keys"], set(memory["there"])
