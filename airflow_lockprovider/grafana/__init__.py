"""The Grafana dashboard of the locks. It reads the views in the warehouse and needs the role ``…_reader`` alone."""

from __future__ import annotations

from airflow_lockprovider.grafana.dashboard import dashboard

__all__ = ["dashboard"]
