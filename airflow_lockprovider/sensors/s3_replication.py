"""Waits until the objects of one bucket have arrived in its replica."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from airflow_lockprovider.lease.duration import Duration, seconds
from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.plan import Endpoint, ProbePlan
from airflow_lockprovider.readiness.replication import ReplicationProbe
from airflow_lockprovider.sensors.readiness import ReadinessSensor


class S3ReplicationSensor(ReadinessSensor):
    """Lists what the source holds under ``prefix`` once, when the task starts, and waits until all of it is in
    the destination bucket. So it belongs after the task that writes.

    Two listings per thousand objects for the first look, then only what is still missing. An object whose
    replication FAILED, that no rule takes, or that changes on the source meanwhile, fails the task by name.

    :param source_bucket: where the objects are written. (templated)
    :param destination_bucket: the replica. (templated)
    :param prefix: which objects. (templated)
    :param source_conn_id: AWS connection for the source bucket. (templated)
    :param destination_conn_id: AWS connection for the destination bucket; None: the source's. (templated)
    :param source_region: None: the connection's region. (templated)
    :param destination_region: None: the connection's region. (templated)
    :param min_objects: fewer objects than this fail the task. 0 lets an empty set pass.
    :param on_source_change: "fail", or "refreeze": wait for the new content of what was changed or deleted.
    :param compare: "size" compares key and size; "etag" also notices an object that was overwritten by one of
        the same size, but does not work where the replica has another KMS key.
    :param preflight: first check that an enabled rule covers the prefix and both buckets are versioned. Needs
        s3:GetReplicationConfiguration and s3:GetBucketVersioning.
    :param stall_after: warn when nothing has arrived for so long (seconds, text or timedelta).
    """

    template_fields: Sequence[str] = (
        "source_bucket",
        "destination_bucket",
        "prefix",
        "source_conn_id",
        "destination_conn_id",
        "source_region",
        "destination_region",
    )

    def __init__(
        self,
        *,
        source_bucket: str,
        destination_bucket: str,
        prefix: str = "",
        source_conn_id: str | None = "aws_default",
        destination_conn_id: str | None = None,
        source_region: str | None = None,
        destination_region: str | None = None,
        min_objects: int = 1,
        on_source_change: Literal["fail", "refreeze"] = "fail",
        compare: Literal["size", "etag"] = "size",
        preflight: bool = True,
        stall_after: Duration | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for setting, bucket in (("source_bucket", source_bucket), ("destination_bucket", destination_bucket)):
            if isinstance(bucket, str) and (not bucket or "://" in bucket):
                raise ConfigurationError(f"{setting}={bucket!r} must be a bucket's name, without s3://")
        if source_bucket == destination_bucket:
            raise ConfigurationError(f"source_bucket and destination_bucket are both {source_bucket!r}")
        if not isinstance(min_objects, int) or min_objects < 0:
            raise ConfigurationError(f"min_objects={min_objects!r} must be 0 or more")
        if on_source_change not in ("fail", "refreeze"):
            raise ConfigurationError(f"on_source_change={on_source_change!r} must be 'fail' or 'refreeze'")
        if compare not in ("size", "etag"):
            raise ConfigurationError(f"compare={compare!r} must be 'size' or 'etag'")
        self.source_bucket = source_bucket
        self.destination_bucket = destination_bucket
        self.prefix = prefix
        self.source_conn_id = source_conn_id
        self.destination_conn_id = destination_conn_id
        self.source_region = source_region
        self.destination_region = destination_region
        self.min_objects = min_objects
        self.on_source_change = on_source_change
        self.compare = compare
        self.preflight = preflight
        self.stall_after = None if stall_after is None else seconds(stall_after, setting="stall_after")

    def _plan(self) -> ProbePlan:
        destination_conn_id = self.destination_conn_id or self.source_conn_id
        return ProbePlan(
            kind=ReplicationProbe.kind,
            settings={
                "source_bucket": self.source_bucket,
                "destination_bucket": self.destination_bucket,
                "prefix": self.prefix,
                "min_objects": self.min_objects,
                "on_source_change": self.on_source_change,
                "compare": self.compare,
                "preflight": self.preflight,
                "stall_after": self.stall_after,
                "max_transient_errors": self.max_transient_errors,
            },
            endpoints={
                "source": Endpoint("s3", self.source_conn_id, self.source_region),
                "destination": Endpoint("s3", destination_conn_id, self.destination_region),
            },
        )
