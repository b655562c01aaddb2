"""Waits until all that a manifest names is in one bucket."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from airflow_lockprovider.lease.duration import Duration, seconds
from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.identity import Identity
from airflow_lockprovider.readiness.manifest_probe import ManifestProbe
from airflow_lockprovider.readiness.plan import Endpoint, ProbePlan
from airflow_lockprovider.sensors.checking import check_location, check_name
from airflow_lockprovider.sensors.readiness import ReadinessSensor


class S3ManifestSensor(ReadinessSensor):
    """Waits for a manifest and then for every object it names, in one bucket of one region. It needs no access to
    where the objects come from, so region 2 can wait alone for what region 1 wrote and S3 replicates.

    The manifest comes from `S3WriteManifestOperator`, from ``write_manifest()`` in a Spark step, or from Redshift's
    UNLOAD with MANIFEST VERBOSE. One request per thousand objects, where ``S3KeySensor`` needs one per object.

    :param bucket: where the objects have to be. (templated)
    :param manifest: ``s3://bucket/key``, or a key in ``bucket``. (templated)
    :param identity: what has to be equal: key and size, and "version_id" (kept by replication) or "etag" if named.
    :param min_objects: a manifest with fewer fails the task. 0 lets an empty one pass.
    :param stall_after: warn when nothing has arrived for so long (seconds, text or timedelta).
    :param aws_conn_id: AWS connection. (templated)
    :param region_name: None: the connection's region. (templated)
    """

    template_fields: Sequence[str] = ("bucket", "manifest", "aws_conn_id", "region_name")

    def __init__(
        self,
        *,
        bucket: str,
        manifest: str,
        identity: Collection[str] = ("key", "size"),
        min_objects: int = 1,
        stall_after: Duration | str | None = None,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_name("bucket", bucket)
        check_name("manifest", manifest)
        if isinstance(bucket, str) and "://" in bucket:
            raise ConfigurationError(f"bucket={bucket!r} must be a bucket's name, without s3://")
        if isinstance(manifest, str) and "://" in manifest:
            check_location("manifest", manifest)
        Identity.of(identity)
        if not isinstance(min_objects, int) or min_objects < 0:
            raise ConfigurationError(f"min_objects={min_objects!r} must be 0 or more")
        self.bucket = bucket
        self.manifest = manifest
        self.identity = identity
        self.min_objects = min_objects
        self.stall_after = None if stall_after is None else seconds(stall_after, setting="stall_after")
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name

    def _plan(self) -> ProbePlan:
        return ProbePlan(
            kind=ManifestProbe.kind,
            settings={
                "bucket": self.bucket,
                "manifest": self.manifest,
                "identity": list(self.identity),
                "min_objects": self.min_objects,
                "stall_after": self.stall_after,
                "max_transient_errors": self.max_transient_errors,
            },
            endpoints={"s3": Endpoint("s3", self.aws_conn_id, self.region_name)},
        )
