"""Sensors that wait until data is really there. Names are loaded when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

_HOMES = {
    "GlueCrawlSensor": "airflow_lockprovider.sensors.glue_crawl",
    "GlueJobRunSensor": "airflow_lockprovider.sensors.glue_job_run",
    "GluePartitionSensor": "airflow_lockprovider.sensors.glue_partition",
    "RedshiftExternalDataSensor": "airflow_lockprovider.sensors.redshift_external_data",
    "S3ManifestSensor": "airflow_lockprovider.sensors.s3_manifest",
    "S3ReplicationSensor": "airflow_lockprovider.sensors.s3_replication",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
