"""What the test of a path before all addresses looks at: a task that waits for its lock."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG, task

with DAG("parcels", schedule=None, start_date=datetime(2025, 1, 1, tzinfo=UTC), catchup=False):

    @task.locked(lock="dwh.parcels")
    def load() -> str:
        return "loaded"

    load()
