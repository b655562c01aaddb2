"""What can be known of a sensor's arguments when the DAG is parsed. A value that is not there yet, or has a template
in it, is let through: the probe looks at it again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.moment import moment_of
from airflow_lockprovider.readiness.s3_location import S3Location


def is_final(value: Any) -> bool:
    """Whether it is a text without a template."""
    return isinstance(value, str) and "{{" not in value and "{%" not in value


def check_name(setting: str, value: Any) -> None:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise ConfigurationError(f"{setting}={value!r} must not be empty")


def check_choice(setting: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ConfigurationError(f"{setting}={value!r} must be {' or '.join(map(repr, choices))}")


def check_location(setting: str, value: Any) -> None:
    if is_final(value):
        try:
            S3Location.parse(value)
        except ConfigurationError as error:
            raise ConfigurationError(f"{setting}: {error}") from None


def check_moment(setting: str, value: Any) -> None:
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ConfigurationError(f"{setting}={value!r} needs a time zone")
    if is_final(value):
        try:
            moment_of(value)
        except ConfigurationError as error:
            raise ConfigurationError(f"{setting}: {error}") from None


def iso(moment: datetime | str | None) -> str | None:
    """As text, for a plan."""
    return moment.isoformat() if isinstance(moment, datetime) else moment
