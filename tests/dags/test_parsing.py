"""The example DAGs as the dag-processor sees them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_lockprovider.demo import alert_channel, lake
from tests.conftest import REPOSITORY
from tests.dags.conftest import BUNDLE

EXAMPLES = {
    "fails_and_alerts",
    "flights_region1",
    "flights_region2",
    "must_be_done_by",
    "node_b_first",
    "node_b_second",
    "runs_once",
    "scope_of_locks",
    "watch_locks",
}

# In a process of its own: warnings are given once, and sys.path must be as Airflow makes it.
_PARSE = """
import json, sys, warnings
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.serialization.serialized_objects import DagSerialization

folder = sys.argv[1]
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    bag = BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name=sys.argv[2])
ours = [str(one.message) for one in seen if "site-packages" not in one.filename]
captured = [text for texts in bag.captured_warnings.values() for text in texts if "site-packages" not in text]
json.dump(
    {
        "errors": bag.import_errors,
        "warnings": ours + captured,
        "dags": {dag_id: DagSerialization.to_dict(dag) for dag_id, dag in bag.dags.items()},
    },
    sys.stdout,
    sort_keys=True,
)
"""


@pytest.fixture(scope="module")
def parsed(airflow_db: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", _PARSE, str(REPOSITORY / "dags"), BUNDLE],
        env={**os.environ, "PYTHONHASHSEED": "1"},  # another order of sets than here
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_all_examples_are_there_without_import_errors(parsed: dict[str, Any]) -> None:
    assert parsed["errors"] == {}
    assert set(parsed["dags"]) == EXAMPLES


def test_parsing_gives_no_warning_about_our_files(parsed: dict[str, Any]) -> None:
    assert parsed["warnings"] == []


def test_another_parse_gives_the_same_dag_so_no_new_versions(parsed: dict[str, Any]) -> None:
    from airflow.dag_processing.dagbag import BundleDagBag
    from airflow.serialization.serialized_objects import DagSerialization

    folder = REPOSITORY / "dags"
    bag = BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name=BUNDLE)
    again = {dag_id: DagSerialization.to_dict(dag) for dag_id, dag in bag.dags.items()}
    assert json.loads(json.dumps(again)) == parsed["dags"]


def test_every_example_explains_itself(dags: dict[str, Any]) -> None:
    for dag_id, dag in dags.items():
        for what in ("What it shows.", "Try it.", "alone.", f"airflow tasks test {dag_id} ", "Needs"):
            assert what in dag.doc_md, (dag_id, what)
        assert "lockprovider" in dag.tags
        assert dag.catchup is False
        assert dag.schedule is None or dag.is_paused_upon_creation, "nothing starts by itself"


def test_the_page_about_the_examples_names_each_of_them() -> None:
    page = (REPOSITORY / "docs" / "examples.md").read_text(encoding="utf-8")
    table = [line for line in page.splitlines() if line.startswith("| `")]
    assert {name for line in table for name in EXAMPLES if f"`{name}`" in line.split("|")[1]} == EXAMPLES


def test_only_step_offers_every_step_that_does_something(dags: dict[str, Any]) -> None:
    for dag_id in ("flights_region1", "flights_region2", "node_b_first", "node_b_second"):
        steps = [task.task_id for task in dags[dag_id].topological_sort() if task.task_type != "EmptyOperator"]
        assert dags[dag_id].params.get_param("only_step").schema["enum"] == ["all", *steps]


def test_every_step_of_the_flights_alerts_when_it_fails(dags: dict[str, Any]) -> None:
    for task in [*dags["flights_region1"].tasks, *dags["flights_region2"].tasks]:
        names = [type(notifier).__name__ for notifier in task.on_failure_callback]
        assert names == ["EventBridgeNotifier", "FailureEmail"], task


def test_names_in_the_steps_are_those_of_the_demos_world(dags: dict[str, Any]) -> None:
    from flights_steps import curated_flights, places  # the fixture has put the dags folder on sys.path

    from airflow_lockprovider.demo import flights_input

    for place, region in ((places.REGION_1, lake.REGION_1), (places.REGION_2, lake.REGION_2)):
        assert place == (region.conn_id, region.bucket, region.glue_database, region.cluster)
    assert (places.LANDING, places.CURATED) == (lake.LANDING, lake.CURATED)
    assert flights_input.MISSING == curated_flights.MISSING
    crawlers = {task.crawler_name for dag in dags.values() for task in dag.tasks if hasattr(task, "crawler_name")}
    assert crawlers == set(lake.CRAWLERS)
    (notifier, _) = dags["fails_and_alerts"].get_task("fail_under_lock").on_failure_callback
    assert (notifier.event_bus, notifier.source) == (alert_channel.ALERTS, alert_channel.SOURCE)
