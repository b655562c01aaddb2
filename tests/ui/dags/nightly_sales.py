"""What the browser tests look at: a task that waits for its lock, between two that need none."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import DAG, task

with DAG("nightly_sales", schedule=None, start_date=datetime(2025, 1, 1, tzinfo=UTC), catchup=False):

    @task
    def extract() -> str:
        return "extracted"

    @task.locked(lock="dwh.sales")
    def load() -> str:
        return "loaded"

    @task
    def report() -> str:
        return "reported"

    extract() >> load() >> report()
