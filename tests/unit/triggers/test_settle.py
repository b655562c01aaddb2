from __future__ import annotations

import asyncio
import time

import pytest

from airflow_lockprovider.triggers import settle


def test_an_event_waits_longer_than_a_tasks_supervisor_can_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settle.settle_time() == 5 + settle.MARGIN
    monkeypatch.setenv("AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL", "20")
    assert settle.settle_time() == 20 + settle.MARGIN


def test_the_time_counts_from_the_start_of_the_trigger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "settle_time", lambda: 0.2)
    started = time.monotonic()
    settled = settle.Settled()
    assert settled.at >= started + 0.2
    asyncio.run(settled.wait())
    assert time.monotonic() >= settled.at
