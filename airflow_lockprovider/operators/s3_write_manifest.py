"""Writes down what a run has written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.manifest_writing import Replace, write_manifest
from airflow_lockprovider.readiness.plan import Endpoint
from airflow_lockprovider.triggers.clients import client_of

if TYPE_CHECKING:
    from airflow.sdk import Context


class S3WriteManifestOperator(BaseOperator):
    """Lists what lies under ``prefix`` and writes it down as a manifest: what `S3ManifestSensor` and
    `S3ReplicationSensor` then wait for, and what Redshift's COPY can load. Put it after the task that writes.

    The manifest is written last and only if there is none, so a second writer of the same key fails and is told who
    was first; a repeated task that finds the same objects succeeds. One request per thousand objects.

    Returns the address, the counts and ``was_there``, as XCom.

    :param bucket: where the objects are, and the manifest. (templated)
    :param key: the manifest's key; ends in ``.gz`` to have it packed. Put the run into it, as in
        ``"out/{{ ds }}/_MANIFEST.json"``. Under a replicated prefix it is replicated as well. (templated)
    :param prefix: which objects. (templated)
    :param pattern: only keys whose last part is like this, such as ``"*.parquet"``. (templated)
    :param copy_manifest_key: also write a manifest for ``COPY … MANIFEST``, with mandatory files. (templated)
    :param rows: row counts by key, if they are known. (templated)
    :param version_ids: note version ids, too (needs s3:ListBucketVersions).
    :param min_objects: with fewer no manifest is written, and the task fails.
    :param replace: "never", or "same_run": a DAG run that was cleared may replace its own manifest.
    :param aws_conn_id: AWS connection. (templated)
    :param region_name: None: the connection's region. (templated)
    """

    template_fields: Sequence[str] = (
        "bucket",
        "key",
        "prefix",
        "pattern",
        "copy_manifest_key",
        "rows",
        "aws_conn_id",
        "region_name",
    )

    def __init__(
        self,
        *,
        bucket: str,
        key: str,
        prefix: str,
        pattern: str = "*",
        copy_manifest_key: str = "",
        rows: Mapping[str, int] | str | None = None,
        version_ids: bool = True,
        min_objects: int = 1,
        replace: Replace = "never",
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for setting, value in (("bucket", bucket), ("key", key)):
            if not value or (isinstance(value, str) and "://" in value):
                raise ConfigurationError(f"{setting}={value!r} must be a name, without s3://")
        if copy_manifest_key and copy_manifest_key == key:
            raise ConfigurationError(f"key and copy_manifest_key are both {key!r}; the two are different files")
        if replace not in ("never", "same_run"):
            raise ConfigurationError(f"replace={replace!r} must be 'never' or 'same_run'")
        if not isinstance(min_objects, int) or min_objects < 0:
            raise ConfigurationError(f"min_objects={min_objects!r} must be 0 or more")
        self.bucket = bucket
        self.key = key
        self.prefix = prefix
        self.pattern = pattern
        self.copy_manifest_key = copy_manifest_key
        self.rows = rows
        self.version_ids = version_ids
        self.min_objects = min_objects
        self.replace = replace
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name

    def execute(self, context: Context) -> dict[str, Any]:
        ti: Any = context["ti"]
        mapped = f"[{ti.map_index}]" if ti.map_index >= 0 else ""
        written = write_manifest(
            client_of(Endpoint("s3", self.aws_conn_id, self.region_name)),
            self.bucket,
            self.key,
            prefix=self.prefix,
            pattern=self.pattern,
            rows=self._rows(),
            version_ids=self.version_ids,
            # A run's id is unique in its DAG only.
            run_id=f"{ti.dag_id}/{ti.run_id}",
            written_by=f"{ti.dag_id}/{ti.run_id}/{ti.task_id}{mapped}#{ti.try_number}",
            copy_manifest_key=self.copy_manifest_key,
            min_objects=self.min_objects,
            replace=self.replace,
        )
        said = "was there already" if written.was_there else "written"
        self.log.info("%s %s: %s objects, %s bytes", written.uri, said, f"{written.objects:,}", f"{written.size:,}")
        return written.as_dict()

    def _rows(self) -> Mapping[str, int]:
        if not self.rows:
            return {}
        if not isinstance(self.rows, Mapping):
            raise ConfigurationError(
                f"rows must be a dict of key → rows, not {type(self.rows).__name__}: give the task's output itself, or "
                "render_template_as_native_obj=True"
            )
        return {str(key): int(count) for key, count in self.rows.items()}
