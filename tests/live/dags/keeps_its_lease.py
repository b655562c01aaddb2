"""A locked task whose own deferral lasts longer than its lease lives without renewal."""

from __future__ import annotations

from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync
from airflow.sdk import DAG

from airflow_lockprovider import Lock, LockedOperator

with DAG("keeps_its_lease", schedule=None):
    LockedOperator(
        task_id="wait_deferred",
        operator=DateTimeSensorAsync,
        lock=Lock("kept", ttl=15),
        # From the start of the task, however late that is.
        target_time="{{ (macros.datetime.now().astimezone() + macros.timedelta(seconds=40)).isoformat() }}",
    )
