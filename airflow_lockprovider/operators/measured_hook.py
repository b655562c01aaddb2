"""A worker's connection to the locks that tells how long renewals take."""

from __future__ import annotations

import time
from collections.abc import Sequence

from airflow_lockprovider import metrics
from airflow_lockprovider.hooks.lease import LeaseHook
from airflow_lockprovider.lease.model import Lease, Renewal


class MeasuredHook(LeaseHook):
    """The verbs of `LeaseHook`."""

    def renew_many(self, leases: Sequence[Lease]) -> list[Renewal]:
        begun = time.monotonic()
        try:
            return super().renew_many(leases)
        finally:
            metrics.timing("renew_latency", time.monotonic() - begun, where="worker")
