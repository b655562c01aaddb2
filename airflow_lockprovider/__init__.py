"""Leases in the data warehouse for Apache Airflow.

Airflow imports this package in every process, so names are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_lockprovider.decorators.lock import lock
    from airflow_lockprovider.hooks.lease import LeaseHook
    from airflow_lockprovider.lease.lock import Lock
    from airflow_lockprovider.lease.model import Lease
    from airflow_lockprovider.operators.door import LockedOperator
    from airflow_lockprovider.operators.locked import locked, with_lock
    from airflow_lockprovider.operators.retry_policy import LockRetryPolicy
    from airflow_lockprovider.operators.scope import lock_scope

__version__ = "0.1.0"
__all__ = [
    "Lease",
    "LeaseHook",
    "Lock",
    "LockRetryPolicy",
    "LockedOperator",
    "__version__",
    "lock",
    "lock_scope",
    "locked",
    "with_lock",
]

_HOMES = {
    "Lease": "airflow_lockprovider.lease.model",
    "LeaseHook": "airflow_lockprovider.hooks.lease",
    "Lock": "airflow_lockprovider.lease.lock",
    "LockRetryPolicy": "airflow_lockprovider.operators.retry_policy",
    "LockedOperator": "airflow_lockprovider.operators.door",
    "lock": "airflow_lockprovider.decorators.lock",
    "lock_scope": "airflow_lockprovider.operators.scope",
    "locked": "airflow_lockprovider.operators.locked",
    "with_lock": "airflow_lockprovider.operators.locked",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
