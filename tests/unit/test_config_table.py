"""Every setting with the values that it must refuse. Each message names the setting, the value, and what to do."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from airflow_lockprovider import config
from airflow_lockprovider.lease import ConfigurationError, LeaseSettings, Lock, connect

NO_DURATION = [0, -1, float("nan"), float("inf"), 400 * 86400, True, "soon"]

SETTINGS: dict[str, list[Any]] = {
    "ttl": [*NO_DURATION, None],
    "renew_every": [*NO_DURATION, 100],
    "handover_ttl": [*NO_DURATION, None],
    "skip_after": [*NO_DURATION, None, 1.0],
    "prune_after": [*NO_DURATION, None, 5],
    "poll_interval": [*NO_DURATION, None, 10],
    "listen": [None, "maybe", 2],
    "standby": [None, "sometimes", True],
    "standby_limit": [*NO_DURATION, None],
    "safety_margin": [0, -0.1, 0.5, 1, float("nan"), None, "a tenth"],
}
LOCK: dict[str, list[Any]] = {
    "name": ["", "  ", " x", "x ", "a\nb", "x" * 201, "a\0b"],
    "ttl": [*NO_DURATION, "5 fortnights", ""],
    "expected_hold": [*NO_DURATION, "x"],
    "capacity": [0, -1, 1.5, True, "two"],
    "units": [0, -1, 1.5, True, "two"],
    "shared": [None, "yes", 2],
    "priority": [1.5, True, "high", None],
    "on_busy": ["explode", "", None],
    "wait_timeout": [*NO_DURATION, "for ever"],
    "hold_at_least": [*NO_DURATION, "x"],
    "standby": ["sometimes", ""],
    "handover_ttl": [*NO_DURATION, "x"],
}
OPTIONS = {
    "ttl": ["0", "-5", "soon", "2 fortnights"],
    "renew_every": ["0", "soon", "100"],
    "handover_ttl": ["0", "soon"],
    "skip_after": ["0", "soon", "0.5"],
    "prune_after": ["0", "soon", "5"],
    "poll_interval": ["0", "soon", "10"],
    "standby": ["sometimes"],
    "standby_limit": ["0", "soon"],
    "schema": ["Upper", "a-b", "1x", "x" * 60],
    "watch_held": ["0", "soon", "-1"],
    "watch_waiting": ["0", "soon"],
    "watch_queue": ["0", "many", "-1", "1.5", ""],
    "watch_growth": ["0", "soon", "-1"],
}
READERS = {
    "schema": config.schema,
    "watch_held": config.watch_held,
    "watch_waiting": config.watch_waiting,
    "watch_queue": config.watch_queue,
    "watch_growth": config.watch_growth,
}


def _cases(table: dict[str, list[Any]]) -> list[Any]:
    return [pytest.param(name, value, id=f"{name}={value!r:.20}") for name, values in table.items() for value in values]


@pytest.mark.parametrize(("name", "value"), _cases(SETTINGS))
def test_a_setting_of_the_engine_that_cannot_work_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        LeaseSettings(**{name: value})
    _tells(caught.value, name, value)


@pytest.mark.parametrize(("name", "value"), _cases(LOCK))
def test_a_field_of_a_lock_that_cannot_work_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Lock(**{"name": "x", name: value})
    _tells(caught.value, name, value)


@pytest.mark.parametrize(("name", "value"), _cases(OPTIONS))
def test_an_option_of_the_configuration_that_cannot_work_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"AIRFLOW__LOCKPROVIDER__{name.upper()}", value)
    with pytest.raises(ConfigurationError) as caught:
        READERS.get(name, config.lease_settings)()
    _tells(caught.value, name, value)


@pytest.mark.parametrize("name", ["watch_held", "watch_waiting", "watch_queue", "watch_growth"])
def test_a_threshold_of_the_watch_may_be_never(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"AIRFLOW__LOCKPROVIDER__{name.upper()}", "Never")
    assert READERS[name]() is None


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"units": 3, "capacity": 2}, "takes units=3 of capacity=2: it could never be granted"),
        ({"unit": 3}, "has unknown 'unit': known are"),
        ({"lock_status": "perhaps"}, "lock_status='perhaps': use 'enable' or 'disable'"),
        ({"name": None}, "name"),
    ],
)
def test_fields_that_contradict_each_other_or_are_unknown_are_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Lock.of({"name": "x", **given})
    assert says in str(caught.value)


@pytest.mark.parametrize("dialect", ["", "mysql", "Postgres"])
def test_an_unknown_dialect_is_refused_with_those_that_are_known(dialect: str) -> None:
    with pytest.raises(ConfigurationError, match=f"dialect={dialect!r} is unknown: use 'postgres' or 'redshift'"):
        connect("postgresql://nowhere", dialect=dialect)


def test_the_tables_name_every_setting() -> None:
    assert SETTINGS.keys() == {field.name for field in fields(LeaseSettings)}
    free = {"lease_conn_id"}  # any text: whether there is such a connection, only Airflow knows
    assert LOCK.keys() | free == {field.name for field in fields(Lock)}


def _tells(error: ConfigurationError, name: str, value: Any) -> None:
    text = str(error)
    assert name in text
    shown = repr(value) if isinstance(value, str) else f"{value}"
    assert shown[:20].strip("'") in text or repr(value)[:20] in text or f"{value:g}" in text
