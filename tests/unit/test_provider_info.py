"""What Airflow reads about this provider is true."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from importlib import import_module, resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest

import airflow_lockprovider
from airflow_lockprovider import config
from airflow_lockprovider.desk.watch import Thresholds
from airflow_lockprovider.get_provider_info import get_provider_info
from airflow_lockprovider.lease.duration import seconds
from airflow_lockprovider.lease.settings import LeaseSettings

INFO = get_provider_info()
OPTIONS: dict[str, dict[str, Any]] = INFO["config"]["lockprovider"]["options"]
WATCH = ("watch_held", "watch_waiting", "watch_queue", "watch_growth")
DURATIONS = sorted({field.name for field in fields(LeaseSettings)} & set(OPTIONS) - {"listen", "standby"})
AIRFLOW = Path(airflow.__file__).parent


def named_modules() -> Iterator[str]:
    for kind in ("operators", "sensors", "hooks", "triggers"):
        for entry in INFO[kind]:
            yield from entry["python-modules"]


def named_objects() -> Iterator[str]:
    yield from (*INFO["notifications"], *INFO["extra-links"], *INFO["cli"])
    yield from (entry["class-name"] for entry in INFO["task-decorators"])


def test_it_keeps_airflows_own_schema():
    schema = json.loads((AIRFLOW / "provider_info.schema.json").read_text())
    jsonschema.validate(INFO, schema)
    assert schema["properties"].keys() >= {"config", "cli", "notifications", "task-decorators", "extra-links"}


def test_every_named_module_can_be_imported():
    for name in named_modules():
        import_module(name)


def test_every_named_object_exists():
    for name in named_objects():
        module, _, attribute = name.rpartition(".")
        assert callable(getattr(import_module(module), attribute)), name


def test_no_module_with_a_trigger_a_sensor_or_an_operator_is_forgotten():
    written = {
        f"airflow_lockprovider.{folder}.{file.name.removesuffix('.py')}"
        for folder, base in (("triggers", "(BaseTrigger)"), ("sensors", "(ReadinessSensor)"), ("hooks", "BaseHook)"))
        for file in resources.files(f"airflow_lockprovider.{folder}").iterdir()
        if file.name.endswith(".py") and base in file.read_text()
    }
    assert written <= set(named_modules())
    assert {"airflow_lockprovider.triggers.waiting", "airflow_lockprovider.hooks.lease"} <= written


def test_its_version_is_the_packages():
    assert INFO["versions"][0] == airflow_lockprovider.__version__ == version("airflow-lockprovider")


def test_declared_defaults_are_the_ones_in_effect():
    settings = LeaseSettings()
    assert OPTIONS["lease_conn_id"]["default"] == config.DEFAULT_CONN_ID == config.lease_conn_id()
    assert OPTIONS["schema"]["default"] == config.schema()
    assert OPTIONS["listen"]["default"] == str(settings.listen)
    assert OPTIONS["standby"]["default"] == settings.standby
    assert (OPTIONS["rules"]["default"] or None) == config.rules_file()
    defaults = {name: OPTIONS[name]["default"] for name in DURATIONS}
    declared = {name: seconds(text, setting=name) if text else None for name, text in defaults.items()}
    assert declared == {name: getattr(settings, name) for name in DURATIONS}
    assert config.lease_settings() == settings


def test_declared_thresholds_of_the_watch_are_the_ones_in_effect():
    in_effect = (config.watch_held(), config.watch_waiting(), config.watch_queue(), config.watch_growth())
    held, waiting, queue, growth = (OPTIONS[name]["default"] for name in WATCH)
    durations = (seconds(held, setting="held"), seconds(waiting, setting="waiting"), seconds(growth, setting="growth"))
    assert (*durations[:2], int(queue), durations[2]) == in_effect
    assert Thresholds(*in_effect) == Thresholds()


@pytest.mark.parametrize("name", DURATIONS)
def test_examples_of_durations_can_be_used(name: str):
    assert seconds(OPTIONS[name]["example"], setting=name) > 0


def test_reading_it_loads_no_part_of_the_package():
    code = (
        "import sys; from airflow_lockprovider.get_provider_info import get_provider_info as g; g();"
        "print(sorted(m for m in sys.modules if m.startswith(('airflow_lockprovider.', 'airflow.', 'psycopg'))))"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd="/").stdout
    assert told.strip() == "['airflow_lockprovider.get_provider_info', 'airflow_lockprovider.lazy']"
