"""The crawl step of both regions."""

from __future__ import annotations

from airflow_lockprovider.sensors import GlueCrawlSensor
from flights_steps.places import Place


def crawl(task_id: str, place: Place, crawler_name: str) -> GlueCrawlSensor:
    """Start a crawler of ``place`` and wait, in the triggerer, for the end of this crawl."""
    return GlueCrawlSensor(
        task_id=task_id,
        crawler_name=crawler_name,
        aws_conn_id=place.aws_conn_id,
        poke_interval=(1, 10),
        timeout=600,
    )
