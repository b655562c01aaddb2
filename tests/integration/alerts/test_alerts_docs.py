"""The samples of docs/alerts.md that no other test runs: they are parsed, and their channels are made."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[3] / "docs" / "alerts.md").read_text(encoding="utf-8")


def test_every_python_sample_is_a_dag_file_without_errors(tmp_path: Path, airflow_db: Path):
    from airflow.dag_processing.dagbag import DagBag

    samples = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    for number, sample in enumerate(samples):
        (tmp_path / f"sample_{number}.py").write_text(sample)
    bag = DagBag(tmp_path)
    assert bag.import_errors == {}
    assert {"nightly_sales", "hourly_sales", "done_by_noon"} <= set(bag.dags)
    assert bag.dags["done_by_noon"].deadline


def test_sample_of_the_alert_file_makes_its_channels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from airflow_lockprovider.notifications import AlertNotifier

    (sample,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    file = tmp_path / "alerts.yaml"
    file.write_text(sample)
    monkeypatch.setenv("AIRFLOW__LOCKPROVIDER__ALERTS", str(file))
    configured = AlertNotifier.configured()
    assert configured is not None
    assert configured.channels is not None
    assert [type(channel).__name__ for channel in configured.channels] == ["FailureEmail", "SnsNotifier"]


def test_options_of_the_sample_are_declared():
    from airflow_lockprovider.get_provider_info import get_provider_info

    (sample,) = re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)
    parsed = configparser.ConfigParser()
    parsed.read_string(sample)
    declared = get_provider_info()["config"]["lockprovider"]["options"]
    assert set(parsed["lockprovider"]) <= set(declared)


def test_listener_is_there_only_where_it_is_switched_on(monkeypatch: pytest.MonkeyPatch):
    from airflow_lockprovider.plugins.alerts import AlertPlugin

    assert AlertPlugin().listeners == []
    monkeypatch.setenv("AIRFLOW__LOCKPROVIDER__ALERT_EVERY_FAILURE", "True")
    (listener,) = AlertPlugin().listeners
    assert hasattr(listener, "on_task_instance_failed")
