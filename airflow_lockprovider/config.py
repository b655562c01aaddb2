"""The ``[lockprovider]`` section of Airflow's configuration. The only module that reads it, and only when asked."""

from __future__ import annotations

import os
from dataclasses import fields
from functools import lru_cache
from pathlib import Path

from airflow_lockprovider.compat import conf
from airflow_lockprovider.lease.duration import seconds
from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.lease.settings import LeaseSettings, check_schema

SECTION = "lockprovider"
DEFAULT_CONN_ID = "dwh_default"
_DEFAULTS = LeaseSettings()
_NEVER = "never"


def lease_conn_id() -> str:
    """Airflow connection of the database with the locks."""
    return str(conf.get(SECTION, "lease_conn_id", fallback=DEFAULT_CONN_ID))


def page_conn_ids() -> tuple[str, ...]:
    """Airflow connections whose locks the page shows; the first one is shown first."""
    given = str(conf.get(SECTION, "page_conn_ids", fallback=""))
    return tuple(dict.fromkeys(filter(None, map(str.strip, given.split(","))))) or (lease_conn_id(),)


def schema() -> str:
    """Schema of the lock tables in that database. Raises ConfigurationError for a name that is no plain SQL name."""
    return check_schema(conf.get(SECTION, "schema", fallback="lockprovider"))


def rules_file() -> Path | None:
    """The file with rules that put locks on tasks, or None. A relative path starts from AIRFLOW_HOME."""
    return _file("rules")


def alerts_file() -> Path | None:
    """The file with the channels of all alerts, or None. A relative path starts from AIRFLOW_HOME."""
    return _file("alerts")


def alert_retries() -> bool:
    """Whether that listener alerts for failures that will be retried, too."""
    return bool(conf.getboolean(SECTION, "alert_retries", fallback=False))


def _file(option: str) -> Path | None:
    given = str(conf.get(SECTION, option, fallback="")).strip()
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


def watch_held() -> float | None:
    """Seconds from which on a lease is held too long, where it does not say so itself. None: never."""
    return _limit("watch_held", "1 hour")


def watch_waiting() -> float | None:
    """Seconds from which on somebody waits too long. None: never."""
    return _limit("watch_waiting", "1 hour")


def watch_queue() -> int | None:
    """Waiters of one lock above which its queue is too long. None: never."""
    given = str(conf.get(SECTION, "watch_queue", fallback="20")).strip()
    if given.lower() == _NEVER:
        return None
    if not given.isdecimal() or int(given) < 1:
        raise ConfigurationError(f"[{SECTION}] watch_queue={given!r} must be a whole number above zero, or {_NEVER!r}")
    return int(given)


def watch_growth() -> float | None:
    """Seconds over which a queue must have grown to be told. None: never."""
    return _limit("watch_growth", "1 hour")


def _limit(option: str, default: str) -> float | None:
    given = str(conf.get(SECTION, option, fallback=default)).strip()
    return None if given.lower() == _NEVER else seconds(given, setting=f"[{SECTION}] {option}")


def _duration(option: str, default: float) -> float:
    return seconds(conf.get(SECTION, option, fallback=str(default)), setting=f"[{SECTION}] {option}")


def _optional_duration(option: str) -> float | None:
    given = conf.get(SECTION, option, fallback="")
    return seconds(given, setting=f"[{SECTION}] {option}") if given else None
