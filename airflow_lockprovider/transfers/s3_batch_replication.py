"""Repairs a replication: copies what S3 gave up, or never began."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.batch_replication import STATUSES, BatchReplicationProbe
from airflow_lockprovider.readiness.plan import Endpoint, ProbePlan
from airflow_lockprovider.sensors.checking import check_moment, check_name, iso
from airflow_lockprovider.sensors.readiness import ReadinessSensor


class S3BatchReplicationOperator(ReadinessSensor):
    """Starts an S3 Batch Replication job for the objects whose replication FAILED or was never begun, and waits for
    its end, as the sensors do: in the triggerer by default. It is what `S3ReplicationSensor` points to when it fails.

    The job goes by the bucket's own replication rules, also for objects older than them. It ends with the job's counts
    and its report; objects that fail again fail the task by name. A task that is killed leaves its job running.

    :param source_bucket: the bucket whose objects are missing elsewhere. (templated)
    :param role_arn: role that S3 Batch Operations takes: s3:InitiateReplication on the objects,
        s3:PutInventoryConfiguration and s3:GetReplicationConfiguration on the bucket, s3:PutObject for the report.
        The task itself needs s3:CreateJob, s3:DescribeJob and iam:PassRole. (templated)
    :param prefixes: only keys that begin with one of these. (templated)
    :param statuses: objects with which replication status: FAILED, NONE (never begun), COMPLETED, REPLICA.
    :param created_after: only objects written later (datetime with a time zone, or ISO text). (templated)
    :param created_before: only objects written earlier. (templated)
    :param report_bucket: where the job puts its report; None: the source bucket. (templated)
    :param report_prefix: under which prefix there. (templated)
    :param account_id: the account of the job; None: the connection's. (templated)
    :param priority: among the account's jobs; higher is sooner.
    :param aws_conn_id: AWS connection. (templated)
    :param region_name: the source bucket's region; None: the connection's. (templated)
    """

    template_fields: Sequence[str] = (
        "source_bucket",
        "role_arn",
        "prefixes",
        "created_after",
        "created_before",
        "report_bucket",
        "report_prefix",
        "account_id",
        "aws_conn_id",
        "region_name",
    )

    def __init__(
        self,
        *,
        source_bucket: str,
        role_arn: str,
        prefixes: Sequence[str] = (),
        statuses: Sequence[str] = ("FAILED", "NONE"),
        created_after: datetime | str | None = None,
        created_before: datetime | str | None = None,
        report_bucket: str | None = None,
        report_prefix: str = "batch-replication",
        account_id: str | None = None,
        priority: int = 10,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_name("source_bucket", source_bucket)
        check_name("role_arn", role_arn)
        check_moment("created_after", created_after)
        check_moment("created_before", created_before)
        if isinstance(prefixes, str):
            raise ConfigurationError(f"prefixes={prefixes!r} must be a list of texts")
        if isinstance(statuses, str) or not statuses or not set(statuses) <= set(STATUSES):
            raise ConfigurationError(f"statuses={statuses!r} must be a list with some of {', '.join(STATUSES)}")
        self.source_bucket = source_bucket
        self.role_arn = role_arn
        self.prefixes = prefixes
        self.statuses = statuses
        self.created_after = created_after
        self.created_before = created_before
        self.report_bucket = report_bucket
        self.report_prefix = report_prefix
        self.account_id = account_id
        self.priority = priority
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name

    def _plan(self) -> ProbePlan:
        return ProbePlan(
            kind=BatchReplicationProbe.kind,
            settings={
                "source_bucket": self.source_bucket,
                "role_arn": self.role_arn,
                "prefixes": list(self.prefixes),
                "statuses": list(self.statuses),
                "created_after": iso(self.created_after),
                "created_before": iso(self.created_before),
                "report_bucket": self.report_bucket or self.source_bucket,
                "report_prefix": self.report_prefix,
                "account_id": self.account_id,
                "priority": self.priority,
                "description": f"Airflow task {self.dag_id}/{self.task_id}",
                "max_transient_errors": self.max_transient_errors,
            },
            endpoints={
                name: Endpoint(service, self.aws_conn_id, self.region_name)
                for name, service in BatchReplicationProbe.client_services.items()
            },
        )
