"""Locks by rule and by default_args, in a real Airflow: DAG processor and workers come to the same."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_lockprovider.demo.airflow_services import AirflowServices
from airflow_lockprovider.demo.leash import descendants
from airflow_lockprovider.demo.postgres import EmbeddedPostgres
from airflow_lockprovider.demo.supervisor import Supervisor
from airflow_lockprovider.lease import connect

from .conftest import SETTINGS, Live

pytestmark = pytest.mark.live

# No word of locks, and not one import of this package.
PLAIN = """\
from airflow.sdk import DAG, Asset, task
from airflow.providers.standard.operators.bash import BashOperator

with DAG("plain", schedule=None):
    BashOperator(
        task_id="load",
        bash_command="echo $AIRFLOW_LEASE_NAME $AIRFLOW_LEASE_TOKEN >> {marks}/load",
        outlets=[Asset("sales", uri="s3://dwh/sales")],
    )
    BashOperator.partial(task_id="each").expand(
        bash_command=[f"echo {{name}} $AIRFLOW_LEASE_NAME >> {marks}/each" for name in ("a", "b")]
    )
    BashOperator(task_id="free", bash_command="echo -$AIRFLOW_LEASE_NAME- >> {marks}/free")
"""
DEFAULTS = """\
from airflow.sdk import DAG, task

with DAG("defaults", schedule=None, default_args={{"lock": "by_default"}}):

    @task
    def load():
        import os, pathlib

        pathlib.Path("{marks}/default").write_text(os.environ.get("AIRFLOW_LEASE_NAME", "none"))

    load()
"""
RULES = """\
rules:
  - match: {outlet: "s3://dwh/*"}
    lock: dwh.sales
  - match: {dag: plain, task: each}
    lock: {name: "each.{{ ti.map_index }}", lock_duration: 1 min}
"""


class Place:
    """Where the files lie."""

    def __init__(self, folder: Path) -> None:
        self.dags, self.marks, self.rules = folder / "dags", folder / "marks", folder / "rules.yaml"
        self.dags.mkdir()
        self.marks.mkdir()
        self.rules.write_text(RULES, encoding="utf-8")
        for name, text in (("plain", PLAIN), ("defaults", DEFAULTS)):
            (self.dags / f"{name}.py").write_text(text.format(marks=self.marks), encoding="utf-8")

    def mark(self, name: str) -> list[str]:
        path = self.marks / name
        return sorted(path.read_text(encoding="utf-8").split("\n")[:-1] or [path.read_text()]) if path.exists() else []


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("live_rules"))


@pytest.fixture(scope="module")
def live(place: Place, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("live_rules_airflow")
    names = [f"rules_airflow_{os.getpid()}", f"rules_warehouse_{os.getpid()}"]
    metadata, database = (postgres.create_database(name) for name in names)
    locks = connect(database, settings=SETTINGS)
    locks.init_schema()
    settings = {
        "AIRFLOW_CONN_DWH_DEFAULT": database,
        "AIRFLOW__LOCKPROVIDER__TTL": str(SETTINGS.ttl),
        "AIRFLOW__LOCKPROVIDER__SKIP_AFTER": str(SETTINGS.skip_after),
        "AIRFLOW__LOCKPROVIDER__RULES": str(place.rules),
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "3",
        "AIRFLOW__WORKERS__MISSING_DAG_RETRY_DELAY": "8",
    }
    try:
        with Supervisor(folder / "logs") as supervisor:
            airflow = AirflowServices(folder / "airflow", place.dags, metadata, supervisor, extra_env=settings)
            airflow.migrate()
            airflow.start()
            airflow.wait_until_healthy(["plain", "defaults"])
            yield Live(airflow, supervisor, database, locks)
    finally:
        locks.close()
        for name in names:
            postgres.drop_database(name)


def wait_for(live: Live, condition: Callable[[], Any], seconds: float = 90.0) -> Any:
    for _ in range(int(seconds / 0.2)):
        if found := condition():
            return found
        live.supervisor.wait(0.2)
    raise AssertionError("it did not happen")


def test_what_the_rules_say_is_done_by_the_dag_processor_and_by_the_workers(live: Live, place: Place) -> None:
    client, locks = live.airflow.client, live.locks
    shown = {one["task_id"]: one for one in client.get("/api/v2/dags/plain/tasks")["tasks"]}
    assert {name: one["operator_name"] for name, one in shown.items()} == {
        "load": "BashOperator \N{LOCK}",
        "each": "BashOperator \N{LOCK}",
        "free": "BashOperator",
    }, "what the DAG processor has stored"
    assert "lock_name" in shown["load"]["template_fields"]
    assert shown["load"]["class_ref"]["class_name"] == "BashOperator"

    mine = locks.acquire("dwh.sales", ttl=100)
    run = ("plain", client.trigger("plain"))
    default = ("defaults", client.trigger("defaults"))
    (waiter,) = wait_for(live, lambda: locks.queue("dwh.sales"))
    assert waiter.owner.startswith("plain/")
    assert place.mark("load") == [], "it waits: the worker has come to the same lock"
    locks.release(mine)

    assert live.airflow.wait_for_runs([run, default], timeout=150) == {run: "success", default: "success"}
    (token,) = [
        event.token for event in locks.history("dwh.sales") if event.event == "released" and "plain" in event.owner
    ]
    assert place.mark("load") == [f"dwh.sales {token}"]
    assert place.mark("each") == ["a each.0", "b each.1"]
    assert place.mark("free") == ["--"]
    assert place.mark("default") == ["by_default"]


@contextmanager
def standing_still(live: Live, part: str) -> Iterator[None]:
    """That part of Airflow sees nothing of what happens meanwhile."""
    pids = [live.supervisor.pids()[part], *descendants(live.supervisor.pids()[part])]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)


def test_a_worker_that_sees_a_broken_file_refuses_until_it_is_repaired(live: Live, place: Place) -> None:
    """The DAG processor has not seen it yet, so that the scheduler hands the tasks to workers."""
    client = live.airflow.client
    before, free = place.mark("load"), place.mark("free")
    with standing_still(live, "dag-processor"):
        place.rules.write_text(RULES + "  - match: {dag: plain}\n    lokc: dwh.sales\n", encoding="utf-8")
        try:
            run = ("plain", client.trigger("plain"))
            # Airflow tries a DAG that could not be loaded again, some times.
            refused = ("up_for_reschedule", "failed")
            wait_for(live, lambda: set(client.task_states(*run).values()) <= set(refused))
            assert client.import_errors() == []
            assert "line 7, rules[2].lokc: is unknown" in client.task_log(*run, "load")
            assert place.mark("load") == before, "the worker has loaded the DAG without its lock, and run the task"
            assert place.mark("free") == free, "nobody knows what the rule would have said of this one"
        finally:
            place.rules.write_text(RULES, encoding="utf-8")
    assert live.airflow.wait_for_runs([run], timeout=90) == {run: "success"}
    assert len(place.mark("load")) == len(before) + 1
    assert all(line.startswith("dwh.sales ") for line in place.mark("load"))


def test_a_file_that_breaks_is_an_import_error_and_lets_no_task_run_unlocked(live: Live, place: Place) -> None:
    client = live.airflow.client
    before = place.mark("load")
    place.rules.write_text(RULES + "  - match: {dag: plain}\n    lokc: dwh.sales\n", encoding="utf-8")
    run = ("plain", client.trigger("plain"))

    errors = wait_for(live, client.import_errors)
    assert all(
        "line 7, rules[2].lokc: is unknown: known are match, except, lock" in one["stack_trace"] for one in errors
    )
    wait_for(live, lambda: len(client.import_errors()) == 2)
    # The scheduler may have queued it before it heard of the error: then the worker refuses it. Else it is left alone.
    live.supervisor.wait(15)
    assert client.task_states(*run)["load"] not in ("running", "success")
    assert place.mark("load") == before, "the worker has loaded the DAG without its lock, and run the task"

    place.rules.write_text(RULES, encoding="utf-8")
    wait_for(live, lambda: not client.import_errors())
    again = ("plain", client.trigger("plain"))
    assert live.airflow.wait_for_runs([again], timeout=120) == {again: "success"}
    assert len(place.mark("load")) >= 2
