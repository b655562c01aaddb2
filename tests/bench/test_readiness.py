"""Whether the benchmark of readiness counts what it says; not what it measures."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.bench.readiness import Measured, _run, _server, table, targets
from tests.bench.readiness_worker import measure


def test_a_blocked_loop_is_seen() -> None:
    async def work() -> None:
        await asyncio.sleep(0.01)
        time.sleep(0.1)

    assert 95 <= asyncio.run(measure(work))["loop ms"] < 1000


def test_memory_is_the_growth_of_the_peak_though_it_is_given_back() -> None:
    async def work() -> None:
        held = b"x" * (30 << 20)
        await asyncio.sleep(0.01)
        del held

    assert 25 <= asyncio.run(measure(work))["memory MB"] <= 60


def test_a_list_costs_what_12_5_heads_cost() -> None:
    one = Measured("a", 1, {"ListObjectsV2": 2}, 0, 0, 0, None)
    other = Measured("b", 1, {"HeadObject": 25}, 0, 0, 0, None)
    assert one.price == pytest.approx(other.price)
    assert (one.total, other.total) == (2, 25)


def test_a_missed_target_is_called_missed() -> None:
    found = [
        Measured("S3KeySensor", 10_000, {"HeadObject": 10_000}, 600, 1, 1, None, scaled=True),
        Measured("S3ReplicationSensor", 10_000, {"ListObjectsV2": 20}, 1.2, 1, 60, 20),
        Measured("poll, few missing", 10_000, {"HeadObject": 5}, 0.3, 0.1, 1, 20),
    ]
    assert {each["target"].rpartition(": ")[2]: each["met"] for each in targets(found)} == {
        "fewer requests, ×": True,
        "s": False,
        "memory, MB": False,
        "loop stood still, ms": True,
    }
    report = {"latency ms": 60.0, "aiobotocore": True, "idle loop ms": 1.0, "measured": [], "targets": targets(found)}
    assert "MISSED" in table(report)


def test_our_sensors_are_measured_on_the_server() -> None:
    with _server(1500, 0.001) as url:
        replication, manifest = _run("S3ReplicationSensor", 1500, url), _run("S3ManifestSensor", 1500, url)
        theirs = _run("S3KeySensor", 20, url)
    assert replication.requests["ListObjectsV2"] == 4
    assert manifest.requests == {"GetObject": 1, "ListObjectsV2": 2}
    assert theirs.requests == {"HeadObject": 20}
    assert theirs.loop is None
