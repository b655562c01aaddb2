"""The samples of the README are what people try first."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from airflow_lockprovider import LeaseHook

README = Path(__file__).parents[2] / "README.md"
SAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def dags(airflow_db, tmp_path, monkeypatch):
    """The samples as DAG files, as Airflow reads them."""
    from airflow.dag_processing.dagbag import DagBag

    for number, sample in enumerate(SAMPLES):
        (tmp_path / f"sample_{number}.py").write_text(sample, encoding="utf-8")
    bundle = {
        "name": "readme",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(tmp_path)},
    }
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))
    bag = DagBag(str(tmp_path), bundle_path=tmp_path, bundle_name="readme")
    assert bag.import_errors == {}
    return bag.dags


def test_every_sample_is_a_dag_that_parses(dags):
    assert sorted(dags) == ["nightly_sales", "ways_to_lock"]
    assert len(SAMPLES) == 2


def test_the_first_sample_runs_and_writes_under_its_lock(dags, database, monkeypatch):
    import psycopg

    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", database)
    hook = LeaseHook()
    hook.init_schema()

    assert dags["nightly_sales"].test().state == "success"

    with psycopg.connect(database) as connection:
        assert connection.execute("select amount from sales_total").fetchall() == [(42,)]
    events = [event.event for event in reversed(hook.history("dwh.sales"))]
    hook.close()
    assert events == ["granted", "guarded", "released"]


def test_the_readme_fits_on_a_few_screens_and_its_links_lead_somewhere():
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 180
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (README.parent / target).exists(), target
