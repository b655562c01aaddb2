"""One metric to where Airflow sends its own. Never fails, never waits: StatsD is UDP, OpenTelemetry has its thread."""

from __future__ import annotations

import logging
import sys
from datetime import timedelta
from importlib import import_module
from typing import Any

log = logging.getLogger(__name__)

PREFIX = "lockprovider."
_HOMES = (
    # Two copies of one module: a task's process sets up the first, scheduler and api-server the second.
    "airflow.sdk._shared.observability.metrics.stats",
    "airflow._shared.observability.metrics.stats",
)


def count(name: str, times: int = 1, **tags: str) -> None:
    """Count something that has happened."""
    _emit("incr", name, times, tags)


def count_loss(lock_name: str, cause: str | None) -> None:
    """Count a lease that ended before its work did. ``cause``: the event or the words that say why."""
    count("lost", lock_name=lock_name)
    for known in ("revoked", "expired"):
        if cause and known in cause:
            count(known, lock_name=lock_name)


def gauge(name: str, value: float, **tags: str) -> None:
    """How much there is now."""
    _emit("gauge", name, value, tags)


def timing(name: str, seconds: float, **tags: str) -> None:
    """How long something took."""
    _emit("timing", name, timedelta(seconds=max(0.0, seconds)), tags)


def _emit(kind: str, name: str, value: Any, tags: dict[str, str]) -> None:
    try:
        getattr(_stats(), kind)(PREFIX + name, value, tags=tags)
    except Exception:
        log.debug("the metric %s could not be sent", name, exc_info=True)


def _stats() -> Any:
    """The copy of Airflow's Stats that this process has set up; else the first, set up here."""
    for home in _HOMES:
        if getattr(sys.modules.get(home), "_factory", None) is not None:
            return sys.modules[home]
    from airflow.sdk.observability.metrics import stats_utils

    from airflow_lockprovider.compat import conf

    stats = import_module(_HOMES[0])
    legacy = conf.getboolean("metrics", "legacy_names_on", fallback=True)
    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=legacy)
    return stats
