"""Metrics arrive at a StatsD server, from where the thing happens, and none of them can fail a task."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from airflow_lockprovider import LeaseHook, metrics

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def statsd() -> Iterator[socket.socket]:
    pytest.importorskip("statsd", reason="Airflow sends to StatsD with it: pip install 'apache-airflow-core[statsd]'")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind(("127.0.0.1", 0))
        sink.settimeout(0.3)
        yield sink


def received(sink: socket.socket) -> list[str]:
    """All packets that have arrived, without Airflow's own."""
    packets = []
    try:
        while True:
            packets += sink.recv(65536).decode().splitlines()
    except TimeoutError:
        return [packet for packet in packets if ".lockprovider." in packet]


_SCRIPT = """
import json, logging, sys, time
from types import SimpleNamespace
from airflow_lockprovider import metrics
from airflow_lockprovider.operators.attempt import Attempt
from airflow_lockprovider.operators.wanted import Wanted

wanted = Wanted.of("dwh.sales", default_name="a.b").named("dwh.sales")
def attempt(n):
    ti = SimpleNamespace(id=f"ti {n}", dag_id="a", run_id=f"r{n}", task_id="b", map_index=-1, try_number=1)
    return Attempt(wanted, ti, logging.getLogger("a"))

one = attempt(1)
lease = one.enter("execute", {})
one.tell(lease, again=False)
one.hook.renew_many([lease])
one.release(lease)

two = attempt(2)
lease = two.enter("execute", {})
two.tell(lease, again=False)
two.hook.revoke("dwh.sales", by="ann", reason="stuck")
two.release(lease)

three = attempt(3)
lease = three.enter("execute", {})
held, waiting = metrics.report_locks(three.hook.leases(), three.hook.queue(), known=["dwh.idle"])
print(json.dumps([held, waiting]))
three.release(lease)
"""


def run(script: str, database: str, sink: socket.socket, **more: str) -> str:
    """In a process of its own: Airflow sets Stats up once."""
    settings = {
        "AIRFLOW_CONN_DWH_DEFAULT": database,
        "AIRFLOW__METRICS__STATSD_ON": "True",
        "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
        "AIRFLOW__METRICS__STATSD_PORT": str(sink.getsockname()[1]),
        "AIRFLOW__METRICS__STATSD_PREFIX": "airflow",
        **more,
    }
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **settings}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def locks(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[LeaseHook]:
    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", database)
    hook = LeaseHook()
    hook.init_schema()
    yield hook
    hook.close()


def test_what_happens_to_a_lease_arrives_at_a_statsd_server(locks: LeaseHook, database: str, statsd: socket.socket):
    told = run(_SCRIPT, database, statsd)

    packets = received(statsd)
    names = [packet.split(":")[0].removeprefix("airflow.lockprovider.") for packet in packets]
    assert names.count("granted") == 2
    assert names.count("wait_time") == 2
    assert names.count("released") == 2
    assert names.count("hold_time") == 2
    assert names.count("lost") == 1
    assert names.count("revoked") == 1
    assert "expired" not in names
    assert names.count("renew_latency") == 1
    assert json.loads(told) == [{"dwh.sales": 1, "dwh.idle": 0}, {"dwh.sales": 0, "dwh.idle": 0}]
    assert "airflow.lockprovider.held_total:1|g" in packets
    assert "airflow.lockprovider.waiting_total:0|g" in packets
    assert sorted(packet for packet in packets if ".held:" in packet) == [
        "airflow.lockprovider.held:0|g",
        "airflow.lockprovider.held:1|g",
    ]


def test_tags_say_which_lock_where_the_server_understands_them(locks: LeaseHook, database: str, statsd: socket.socket):
    run(_SCRIPT, database, statsd, AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED="True")
    packets = received(statsd)
    assert "airflow.lockprovider.granted,lock_name=dwh.sales:1|c" in packets
    assert "airflow.lockprovider.held,lock_name=dwh.idle:0|g" in packets


def test_a_metric_that_cannot_be_sent_disturbs_nobody(monkeypatch: pytest.MonkeyPatch):
    def broken() -> SimpleNamespace:
        raise OSError("no route to host")

    monkeypatch.setattr(metrics.emitting, "_stats", broken)
    metrics.count("granted", lock_name="a")
    metrics.gauge("held", 1)
    metrics.timing("wait_time", 1.0)


def test_every_name_is_documented_and_every_documented_name_is_sent():
    code = "\n".join(file.read_text() for file in (REPOSITORY / "airflow_lockprovider").rglob("*.py"))
    sent = set(re.findall(r"""(?:metrics\.|\b)(?:count|gauge|timing)\(\s*"(\w+)\"""", code)) | {"revoked", "expired"}
    documented = set(re.findall(r"`lockprovider\.(\w+)`", (REPOSITORY / "docs" / "metrics.md").read_text()))
    assert sent == documented
