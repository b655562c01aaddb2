"""Leases in the data warehouse for Apache Airflow.

Airflow imports this package in every process, so names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_lockprovider.lazy import names_from

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

__getattr__ = names_from(
    __name__,
    {
        "Lease": "lease.model",
        "LeaseHook": "hooks.lease",
        "Lock": "lease.lock",
        "LockRetryPolicy": "operators.retry_policy",
        "LockedOperator": "operators.door",
        "lock": "decorators.lock",
        "lock_scope": "operators.scope",
        "locked": "operators.locked",
        "with_lock": "operators.locked",
    },
)
