"""Every error of this package, in one place."""

from __future__ import annotations

from airflow_lockprovider.lease.errors import (
    ConfigurationError,
    LeaseError,
    LeaseLost,
    LeaseWaitTimeout,
    LockProviderError,
    SchemaOutdated,
    StoreError,
    StoreUnavailable,
)

__all__ = [
    "ConfigurationError",
    "LeaseError",
    "LeaseLost",
    "LeaseWaitTimeout",
    "LockProviderError",
    "SchemaOutdated",
    "StoreError",
    "StoreUnavailable",
]
