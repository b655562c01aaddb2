"""Sensors that wait until data is really there. Names are loaded when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_lockprovider.sensors.glue_crawl import GlueCrawlSensor
    from airflow_lockprovider.sensors.s3_replication import S3ReplicationSensor

__all__ = ["GlueCrawlSensor", "S3ReplicationSensor"]

_HOMES = {
    "GlueCrawlSensor": "airflow_lockprovider.sensors.glue_crawl",
    "S3ReplicationSensor": "airflow_lockprovider.sensors.s3_replication",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
