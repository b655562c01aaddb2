"""The plugin that alerts for every failed task, where it is switched on. Loaded in every process of Airflow."""

from __future__ import annotations

from typing import Any

# Not through compat.py and config.py, which load a good part of the SDK.
from airflow.sdk.configuration import conf
from airflow.sdk.plugins_manager import AirflowPlugin


class AlertPlugin(AirflowPlugin):
    """Has its listener only with ``[lockprovider] alert_every_failure``: Airflow 3.3 refuses DAGs that have tasks with
    ``end_from_trigger=True`` as soon as any listener is there."""

    name = "lockprovider_alerts"

    @property
    def listeners(self) -> list[Any]:  # type: ignore[override]
        if not conf.getboolean("lockprovider", "alert_every_failure", fallback=False):
            return []
        from airflow_lockprovider.plugins.alert_listener import LISTENER

        return [LISTENER]
