"""A locked task whose own deferral lasts longer than its lease lives without renewal."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import DAG

from airflow_lockprovider import Lock, LockedOperator

with DAG("keeps_its_lease", schedule=None):
    LockedOperator(
        task_id="wait_deferred",
        operator=TimeDeltaSensor,
        lock=Lock("kept", ttl=15),
        delta=timedelta(seconds=40),
        deferrable=True,
    )
