"""Sensors that wait until data is really there. Names are loaded when they are first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_lockprovider.lazy import names_from

if TYPE_CHECKING:
    from airflow_lockprovider.sensors.glue_crawl import GlueCrawlSensor
    from airflow_lockprovider.sensors.glue_job_run import GlueJobRunSensor
    from airflow_lockprovider.sensors.glue_partition import GluePartitionSensor
    from airflow_lockprovider.sensors.redshift_external_data import RedshiftExternalDataSensor
    from airflow_lockprovider.sensors.s3_manifest import S3ManifestSensor
    from airflow_lockprovider.sensors.s3_replication import S3ReplicationSensor

__all__ = [
    "GlueCrawlSensor",
    "GlueJobRunSensor",
    "GluePartitionSensor",
    "RedshiftExternalDataSensor",
    "S3ManifestSensor",
    "S3ReplicationSensor",
]

__getattr__ = names_from(
    __name__,
    {
        "GlueCrawlSensor": "glue_crawl",
        "GlueJobRunSensor": "glue_job_run",
        "GluePartitionSensor": "glue_partition",
        "RedshiftExternalDataSensor": "redshift_external_data",
        "S3ManifestSensor": "s3_manifest",
        "S3ReplicationSensor": "s3_replication",
    },
)
