"""Moments as text, for plans and states."""

from __future__ import annotations

from datetime import datetime

from airflow_lockprovider.lease.errors import ConfigurationError


def moment_of(text: str) -> datetime:
    """From ISO 8601 text with a time zone. ConfigurationError for anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"{text!r} is not an ISO 8601 date and time") from None
    if moment.tzinfo is None:
        raise ConfigurationError(f"{text!r} needs a time zone, as in 2026-01-31T06:00:00+00:00")
    return moment


def text_of(moment: datetime) -> str:
    """The inverse."""
    return moment.isoformat()
