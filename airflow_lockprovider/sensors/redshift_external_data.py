"""Waits until Redshift Spectrum sees partitions of an external table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.external_data import ExternalDataProbe
from airflow_lockprovider.readiness.plan import Endpoint, ProbePlan
from airflow_lockprovider.sensors.checking import check_choice, check_location, check_name
from airflow_lockprovider.sensors.partitions import check_partitions, read_partitions
from airflow_lockprovider.sensors.readiness import ReadinessSensor


class RedshiftExternalDataSensor(ReadinessSensor):
    """Asks Redshift itself, through the Data API, whether an external table has these partitions: the last mile after
    the Glue catalog. A statement that fails (no such schema, no permission) fails the task with Redshift's message.

    :param database: the Redshift database. (templated)
    :param schema_name: the external schema. (templated)
    :param table_name: the external table. (templated)
    :param partitions: which ones, see `GluePartitionSensor`. (templated)
    :param workgroup_name: serverless: the workgroup. (templated)
    :param cluster_identifier: or the cluster. (templated)
    :param db_user: who asks, on a cluster without ``secret_arn``; None: the IAM identity. (templated)
    :param secret_arn: a secret with name and password instead. (templated)
    :param location_prefix: the partitions have to lie under it. (templated)
    :param min_files: Spectrum has to read so many files in each partition. 0 looks into the catalog view alone;
        more costs a scan of each partition, once.
    :param missing_table: "fail", or "wait" for a table that somebody else creates.
    :param aws_conn_id: AWS connection. (templated)
    :param region_name: None: the connection's region. (templated)
    """

    template_fields: Sequence[str] = (
        "database",
        "schema_name",
        "table_name",
        "partitions",
        "workgroup_name",
        "cluster_identifier",
        "db_user",
        "secret_arn",
        "location_prefix",
        "aws_conn_id",
        "region_name",
    )

    def __init__(
        self,
        *,
        database: str,
        schema_name: str,
        table_name: str,
        partitions: Sequence[str | Mapping[str, str] | Sequence[str]],
        workgroup_name: str | None = None,
        cluster_identifier: str | None = None,
        db_user: str | None = None,
        secret_arn: str | None = None,
        location_prefix: str | None = None,
        min_files: int = 0,
        missing_table: Literal["fail", "wait"] = "fail",
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for setting, value in (("database", database), ("schema_name", schema_name), ("table_name", table_name)):
            check_name(setting, value)
        if (workgroup_name is None) is (cluster_identifier is None):
            raise ConfigurationError("give either workgroup_name= (serverless) or cluster_identifier=")
        if db_user is not None and (workgroup_name is not None or secret_arn is not None):
            raise ConfigurationError("db_user= is for a cluster without secret_arn=")
        check_partitions(partitions)
        check_location("location_prefix", location_prefix)
        check_choice("missing_table", missing_table, ("fail", "wait"))
        if not isinstance(min_files, int) or min_files < 0:
            raise ConfigurationError(f"min_files={min_files!r} must be 0 or more")
        self.database = database
        self.schema_name = schema_name
        self.table_name = table_name
        self.partitions = partitions
        self.workgroup_name = workgroup_name
        self.cluster_identifier = cluster_identifier
        self.db_user = db_user
        self.secret_arn = secret_arn
        self.location_prefix = location_prefix
        self.min_files = min_files
        self.missing_table = missing_table
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name

    def _plan(self) -> ProbePlan:
        target = {
            "Database": self.database,
            "WorkgroupName": self.workgroup_name,
            "ClusterIdentifier": self.cluster_identifier,
            "DbUser": self.db_user,
            "SecretArn": self.secret_arn,
        }
        return ProbePlan(
            kind=ExternalDataProbe.kind,
            settings={
                "target": {name: value for name, value in target.items() if value},
                "schema": self.schema_name,
                "table": self.table_name,
                "partitions": read_partitions(self.partitions),
                "location_prefix": self.location_prefix,
                "min_files": self.min_files,
                "missing_table": self.missing_table,
                "max_transient_errors": self.max_transient_errors,
            },
            endpoints={"redshift-data": Endpoint("redshift-data", self.aws_conn_id, self.region_name)},
        )

    def _about(self) -> Mapping[str, Any]:
        return {name: value for name, value in super()._about().items() if name not in ("db_user", "secret_arn")}
