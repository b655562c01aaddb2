"""The ``[lockprovider]`` section of Airflow's configuration. The only module that reads it, and only when asked."""

from __future__ import annotations

import os
from dataclasses import fields
from functools import lru_cache
from pathlib import Path

from airflow_lockprovider.compat import conf
from airflow_lockprovider.lease.duration import seconds
from airflow_lockprovider.lease.settings import LeaseSettings, check_schema

SECTION = "lockprovider"
DEFAULT_CONN_ID = "dwh_default"
_DEFAULTS = LeaseSettings()


def lease_conn_id() -> str:
    """Airflow connection of the database with the locks."""
    return str(conf.get(SECTION, "lease_conn_id", fallback=DEFAULT_CONN_ID))


def schema() -> str:
    """Schema of the lock tables in that database. Raises ConfigurationError for a name that is no plain SQL name."""
    return check_schema(conf.get(SECTION, "schema", fallback="lockprovider"))


def rules_file() -> Path | None:
    """The file with rules that put locks on tasks, or None. A relative path starts from AIRFLOW_HOME."""
    given = str(conf.get(SECTION, "rules", fallback="")).strip()
    if not given:
        return None
    home = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser()
    return home / Path(os.path.expandvars(given)).expanduser()


def lease_settings() -> LeaseSettings:
    """Durations of leases. Raises ConfigurationError that names the option and its value."""
    return _lease_settings(tuple(map(os.environ.get, _VARIABLES)))


_VARIABLES = [f"AIRFLOW__{SECTION.upper()}__{field.name.upper()}" for field in fields(LeaseSettings)]


# Asked for every lock of a DAG with a ttl, and slow to read. Airflow reads its file once in a process, so nothing but
# these variables can change.
@lru_cache(maxsize=4)
def _lease_settings(environment: tuple[str | None, ...]) -> LeaseSettings:
    return LeaseSettings(
        ttl=_duration("ttl", _DEFAULTS.ttl),
        renew_every=_optional_duration("renew_every"),
        handover_ttl=_duration("handover_ttl", _DEFAULTS.handover_ttl),
        skip_after=_duration("skip_after", _DEFAULTS.skip_after),
        prune_after=_duration("prune_after", _DEFAULTS.prune_after),
        poll_interval=_duration("poll_interval", _DEFAULTS.poll_interval),
        standby=conf.get(SECTION, "standby", fallback=_DEFAULTS.standby),  # checked there
        standby_limit=_duration("standby_limit", _DEFAULTS.standby_limit),
        listen=conf.getboolean(SECTION, "listen", fallback=_DEFAULTS.listen),
    )


def _duration(option: str, default: float) -> float:
    return seconds(conf.get(SECTION, option, fallback=str(default)), setting=f"[{SECTION}] {option}")


def _optional_duration(option: str) -> float | None:
    given = conf.get(SECTION, option, fallback="")
    return seconds(given, setting=f"[{SECTION}] {option}") if given else None
