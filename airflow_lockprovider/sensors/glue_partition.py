"""Waits until partitions are in the Glue catalog, in the right place and with data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.partition import PartitionProbe
from airflow_lockprovider.readiness.plan import Endpoint, ProbePlan
from airflow_lockprovider.sensors.checking import check_choice, check_location, check_moment, check_name, iso
from airflow_lockprovider.sensors.partitions import check_partitions, read_partitions
from airflow_lockprovider.sensors.readiness import ReadinessSensor


class GluePartitionSensor(ReadinessSensor):
    """Waits until each of these partitions is in the catalog, lies where it should, and holds data.

    One BatchGetPartition for each hundred that are missing and one LIST for each that is new; what was found
    complete is not looked at again. A partition in the wrong place fails the task at once.

    :param database_name: the Glue database. (templated)
    :param table_name: the table. (templated)
    :param partitions: which ones: ``"year=2026/month=01"``, ``{"year": "2026", "month": "01"}`` or
        ``["2026", "01"]`` each. (templated)
    :param location_prefix: they have to lie under it, such as ``s3://bucket-of-this-region/curated/``. (templated)
    :param check_region: their bucket has to be in the region of the catalog; Redshift Spectrum reads no other one.
    :param not_empty: at least one data file has to be there (not only markers such as ``_SUCCESS``).
    :param min_update_time: a data file has to have been written then or later: a datetime with a time zone, or ISO
        text such as ``"{{ data_interval_start }}"``. A replica has the time of its source. (templated)
    :param missing_table: "fail", or "wait" for a table that somebody else creates.
    :param aws_conn_id: AWS connection. (templated)
    :param region_name: None: the connection's region. (templated)
    """

    template_fields: Sequence[str] = (
        "database_name",
        "table_name",
        "partitions",
        "location_prefix",
        "min_update_time",
        "aws_conn_id",
        "region_name",
    )

    def __init__(
        self,
        *,
        database_name: str,
        table_name: str,
        partitions: Sequence[str | Mapping[str, str] | Sequence[str]],
        location_prefix: str | None = None,
        check_region: bool = True,
        not_empty: bool = True,
        min_update_time: datetime | str | None = None,
        missing_table: Literal["fail", "wait"] = "fail",
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_name("database_name", database_name)
        check_name("table_name", table_name)
        check_partitions(partitions)
        check_location("location_prefix", location_prefix)
        check_moment("min_update_time", min_update_time)
        check_choice("missing_table", missing_table, ("fail", "wait"))
        if min_update_time is not None and not not_empty:
            raise ConfigurationError("min_update_time looks at data files, so it needs not_empty=True")
        self.database_name = database_name
        self.table_name = table_name
        self.partitions = partitions
        self.location_prefix = location_prefix
        self.check_region = check_region
        self.not_empty = not_empty
        self.min_update_time = min_update_time
        self.missing_table = missing_table
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name

    def _plan(self) -> ProbePlan:
        return ProbePlan(
            kind=PartitionProbe.kind,
            settings={
                "database": self.database_name,
                "table": self.table_name,
                "partitions": read_partitions(self.partitions),
                "location_prefix": self.location_prefix,
                "check_region": self.check_region,
                "not_empty": self.not_empty,
                "min_update_time": iso(self.min_update_time),
                "missing_table": self.missing_table,
                "max_transient_errors": self.max_transient_errors,
            },
            endpoints={
                "glue": Endpoint("glue", self.aws_conn_id, self.region_name),
                "s3": Endpoint("s3", self.aws_conn_id, self.region_name),
            },
        )
