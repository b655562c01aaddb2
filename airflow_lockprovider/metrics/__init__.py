"""Metrics through Airflow's own Stats (StatsD, OpenTelemetry). The names are documented in docs/metrics.md."""

from __future__ import annotations

from airflow_lockprovider.metrics.emitting import count, count_loss, gauge, timing
from airflow_lockprovider.metrics.locks import report_locks

__all__ = ["count", "count_loss", "gauge", "report_locks", "timing"]
