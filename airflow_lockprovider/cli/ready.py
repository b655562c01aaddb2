"""``airflow locks ready …``: one look at data, without a DAG."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_lockprovider.cli.environment import server
from airflow_lockprovider.cli.output import print_rows
from airflow_lockprovider.readiness.s3_location import S3Location
from airflow_lockprovider.readiness.verdict import Status, Verdict, in_words

if TYPE_CHECKING:
    from airflow_lockprovider.sensors.readiness import ReadinessSensor

EXIT_CODES: Mapping[Status, int] = {
    Status.READY: 0,
    Status.WAIT: 1,
    Status.FAILED: 2,
    Status.MISCONFIGURED: 3,
}
"""What a script sees. What prevents a look altogether is MISCONFIGURED, too."""

_COLUMNS = ("status", "arrived", "expected", "oldest", "missing", "requests", "reason")
_SAMPLE = 3


def _look_with(sensor_of: Callable[[Namespace], ReadinessSensor]) -> Callable[[Namespace], None]:
    """A command: print the verdict of one look, and end with its exit code."""

    def run(args: Namespace) -> None:
        try:
            with server():
                verdict = _look(args, sensor_of)
        except Exception as error:
            # Whatever it is: a script that goes on while the exit code is 1 must not go on for ever.
            name = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            print(f"airflow locks ready: {name}{' '.join(str(error).split())}", file=sys.stderr)
            raise SystemExit(EXIT_CODES[Status.MISCONFIGURED]) from error
        for note in verdict.notes:
            print(f"airflow locks ready: {note}", file=sys.stderr)
        print_rows([_row(verdict)], args.output, _COLUMNS)
        raise SystemExit(EXIT_CODES[verdict.status])

    return run


def _row(verdict: Verdict) -> dict[str, Any]:
    oldest = None if verdict.oldest_pending is None else in_words(verdict.oldest_pending)
    missing = ", ".join(verdict.missing_sample[:_SAMPLE])
    more = len(verdict.missing_sample) > _SAMPLE or verdict.pending > len(verdict.missing_sample) > 0
    return {**verdict.as_dict(), "oldest": oldest, "missing": f"{missing} …" if more else missing}


def _look(args: Namespace, sensor_of: Callable[[Namespace], ReadinessSensor]) -> Verdict:
    """Without the log lines of clients and connections, which go to stdout and are no JSON."""
    from airflow.utils.cli import suppress_logs_and_warning

    found: list[Verdict] = []

    @suppress_logs_and_warning
    def look(args: Namespace) -> None:
        found.append(sensor_of(args).look())

    look(args)
    return found[0]


def _replication(args: Namespace) -> ReadinessSensor:
    from airflow_lockprovider.sensors.s3_replication import S3ReplicationSensor

    source = S3Location.parse(args.source)
    more = {"manifest": args.manifest} if args.manifest else {}
    return S3ReplicationSensor(
        task_id="ready",
        source_bucket=source.bucket,
        prefix=source.key,
        destination_bucket=S3Location.parse(args.destination).bucket,
        source_conn_id=args.source_conn_id,
        destination_conn_id=args.destination_conn_id,
        source_region=args.source_region,
        destination_region=args.destination_region,
        min_objects=args.min_objects,
        **more,
    )


def _manifest(args: Namespace) -> ReadinessSensor:
    from airflow_lockprovider.sensors.s3_manifest import S3ManifestSensor

    bucket = args.bucket or S3Location.parse(args.manifest).bucket
    return S3ManifestSensor(task_id="ready", manifest=args.manifest, bucket=bucket, **_aws(args))


def _crawl(args: Namespace) -> ReadinessSensor:
    from airflow_lockprovider.sensors.glue_crawl import GlueCrawlSensor

    return GlueCrawlSensor(
        task_id="ready",
        crawler_name=args.crawler,
        start=args.after is None,  # nothing is started: this is only one look
        after=args.after,
        expected_partitions=args.partition or None,
        table_name=args.table,
        **_aws(args),
    )


def _partition(args: Namespace) -> ReadinessSensor:
    from airflow_lockprovider.sensors.glue_partition import GluePartitionSensor

    database, table = _two_names(args.table)
    return GluePartitionSensor(
        task_id="ready",
        database_name=database,
        table_name=table,
        partitions=args.partition,
        location_prefix=args.location_prefix,
        check_region=not args.any_region,
        not_empty=not args.may_be_empty,
        min_update_time=args.min_update_time,
        **_aws(args),
    )


def _job_run(args: Namespace) -> ReadinessSensor:
    from airflow_lockprovider.sensors.glue_job_run import GlueJobRunSensor

    return GlueJobRunSensor(task_id="ready", job_name=args.job, run_id=args.run_id, **_aws(args))


def _external(args: Namespace) -> ReadinessSensor:
    from airflow_lockprovider.sensors.redshift_external_data import RedshiftExternalDataSensor

    schema, table = _two_names(args.table)
    return RedshiftExternalDataSensor(
        task_id="ready",
        database=args.database,
        schema_name=schema,
        table_name=table,
        partitions=args.partition,
        workgroup_name=args.workgroup,
        cluster_identifier=args.cluster,
        db_user=args.db_user,
        secret_arn=args.secret_arn,
        location_prefix=args.location_prefix,
        min_files=args.min_files,
        **_aws(args),
    )


def _aws(args: Namespace) -> dict[str, Any]:
    return {"aws_conn_id": args.conn_id, "region_name": args.region}


def _two_names(written: str) -> tuple[str, str]:
    first, dot, second = written.partition(".")
    if not (first and dot and second):
        raise ValueError(f"{written!r} must be two names with a dot between them, as in db.sales")
    return first, second


s3_replication = _look_with(_replication)
s3_manifest = _look_with(_manifest)
glue_crawl = _look_with(_crawl)
glue_partition = _look_with(_partition)
glue_job_run = _look_with(_job_run)
redshift_external = _look_with(_external)
