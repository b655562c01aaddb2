"""Waits until the objects of one bucket have arrived in its replica."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from airflow_lockprovider.lease.duration import Duration, seconds
from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.identity import Identity
from airflow_lockprovider.readiness.plan import Endpoint, ProbePlan
from airflow_lockprovider.readiness.replication import ReplicationProbe
from airflow_lockprovider.readiness.replication_expected import OnSourceChange
from airflow_lockprovider.sensors.readiness import ReadinessSensor


class S3ReplicationSensor(ReadinessSensor):
    """Fixes what has to arrive once, when the task starts, and waits until all of it is in the destination bucket.
    So it belongs after the task that writes.

    The set is what the writer's ``manifest`` names; without one, what the source holds under ``prefix``. Two
    listings per thousand objects for the first look, then only what is still missing. An object whose replication
    FAILED, that no rule takes, or that changes on the source meanwhile, fails the task by name.

    :param source_bucket: where the objects are written. (templated)
    :param destination_bucket: the replica. (templated)
    :param prefix: which objects. (templated)
    :param manifest: a key of the source bucket, or ``s3://bucket/key``: wait for what it names. Ours (see
        ``S3WriteManifestOperator``), or one that Redshift reads or writes. (templated)
    :param identity: what makes a copy the same object: "key" and "size", and if wanted "version_id" (exact;
        versions are listed) or "etag" (not where the replica has another KMS key).
    :param source_conn_id: AWS connection for the source bucket. (templated)
    :param destination_conn_id: AWS connection for the destination bucket; None: the source's. (templated)
    :param source_region: None: the connection's region. (templated)
    :param destination_region: None: the connection's region. (templated)
    :param min_objects: fewer objects than this fail the task. 0 lets an empty set pass.
    :param on_empty: "fail", or "ready": a set without objects passes whatever ``min_objects`` says.
    :param on_source_change: when an object of the set is overwritten or deleted on the source: "fail";
        "refreeze": wait for what is there now; "ignore": wait for that object no more.
    :param strict_extra: objects under the prefix that only the destination has fail the task. While the rule
        replicates deletions they are waited out instead.
    :param preflight: check that an enabled rule covers the prefix and the destination is versioned; first, and
        every ten minutes. Needs s3:GetReplicationConfiguration and, at the destination, s3:GetBucketVersioning;
        with s3:GetEncryptionConfiguration it warns when the rule leaves out what the bucket encrypts with KMS.
    :param allow_iceberg: wait for the bare files of an Iceberg table, which are no table at the destination.
    :param stall_after: warn when nothing has arrived for so long (seconds, text or timedelta).
    """

    template_fields: Sequence[str] = (
        "source_bucket",
        "destination_bucket",
        "prefix",
        "manifest",
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
        manifest: str | None = None,
        identity: Sequence[str] = ("key", "size"),
        source_conn_id: str | None = "aws_default",
        destination_conn_id: str | None = None,
        source_region: str | None = None,
        destination_region: str | None = None,
        min_objects: int = 1,
        on_empty: Literal["fail", "ready"] = "fail",
        on_source_change: OnSourceChange = "fail",
        strict_extra: bool = False,
        preflight: bool = True,
        allow_iceberg: bool = False,
        stall_after: Duration | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for setting, bucket in (("source_bucket", source_bucket), ("destination_bucket", destination_bucket)):
            if isinstance(bucket, str) and (not bucket or "://" in bucket):
                raise ConfigurationError(f"{setting}={bucket!r} must be a bucket's name, without s3://")
            if isinstance(bucket, str) and bucket.endswith("--x-s3"):
                raise ConfigurationError(
                    f"{setting}={bucket!r} is a directory bucket: S3 neither replicates nor sorts those"
                )
        if source_bucket == destination_bucket:
            raise ConfigurationError(f"source_bucket and destination_bucket are both {source_bucket!r}")
        if not isinstance(min_objects, int) or min_objects < 0:
            raise ConfigurationError(f"min_objects={min_objects!r} must be 0 or more")
        if on_empty not in ("fail", "ready"):
            raise ConfigurationError(f"on_empty={on_empty!r} must be 'fail' or 'ready'")
        if on_source_change not in ("fail", "refreeze", "ignore"):
            raise ConfigurationError(f"on_source_change={on_source_change!r} must be 'fail', 'refreeze' or 'ignore'")
        if manifest and on_source_change == "refreeze":
            raise ConfigurationError(
                "on_source_change='refreeze' cannot be had with a manifest, which stays what it is: "
                "take 'fail' or 'ignore'"
            )
        Identity.of(identity)
        self.source_bucket = source_bucket
        self.destination_bucket = destination_bucket
        self.prefix = prefix
        self.manifest = manifest
        self.identity = list(identity)
        self.source_conn_id = source_conn_id
        self.destination_conn_id = destination_conn_id
        self.source_region = source_region
        self.destination_region = destination_region
        self.min_objects = min_objects
        self.on_empty = on_empty
        self.on_source_change = on_source_change
        self.strict_extra = strict_extra
        self.preflight = preflight
        self.allow_iceberg = allow_iceberg
        self.stall_after = None if stall_after is None else seconds(stall_after, setting="stall_after")

    def _plan(self) -> ProbePlan:
        destination_conn_id = self.destination_conn_id or self.source_conn_id
        return ProbePlan(
            kind=ReplicationProbe.kind,
            settings={
                "source_bucket": self.source_bucket,
                "destination_bucket": self.destination_bucket,
                "prefix": self.prefix,
                "manifest": self.manifest or None,
                "identity": self.identity,
                "min_objects": self.min_objects,
                "on_empty": self.on_empty,
                "on_source_change": self.on_source_change,
                "strict_extra": self.strict_extra,
                "preflight": self.preflight,
                "allow_iceberg": self.allow_iceberg,
                "stall_after": self.stall_after,
                "max_transient_errors": self.max_transient_errors,
            },
            endpoints={
                "source": Endpoint("s3", self.source_conn_id, self.source_region),
                "destination": Endpoint("s3", destination_conn_id, self.destination_region),
            },
        )
