"""Leases in Redshift: another algorithm behind the same store interface. See docs/redshift.md."""

from __future__ import annotations

from airflow_lockprovider.lease.redshift.store import RedshiftStore

__all__ = ["RedshiftStore"]
