"""The file with the channels of all alerts: ``[lockprovider] alerts``."""

from __future__ import annotations

from typing import Any

import yaml

from airflow_lockprovider import config
from airflow_lockprovider.lease.errors import ConfigurationError

_KEYS = ("channels", "repeat", "channel_timeout", "name", "lease_conn_id")


def read_alert_file() -> dict[str, Any] | None:
    """The arguments of `AlertNotifier`; None if no file is configured.

    Raises ConfigurationError that names the file and what is wrong in it. The channels themselves are not yet made.
    """
    path = config.alerts_file()
    if path is None:
        return None
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"alert file {path} cannot be read: {error}. Correct [lockprovider] alerts, or empty it to have none"
        ) from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"alert file {path}: no valid YAML: {error}") from error
    if not isinstance(given, dict) or not isinstance(given.get("channels"), list) or not given["channels"]:
        raise ConfigurationError(
            f"alert file {path} must have a list 'channels', each entry with 'notifier' (a class) and its arguments"
        )
    if unknown := [str(key) for key in given if key not in _KEYS]:
        raise ConfigurationError(f"alert file {path}: {unknown[0]!r} is unknown, known are {', '.join(_KEYS)}")
    return given
