"""Waiters in a triggerer are woken by the database."""

from __future__ import annotations

import asyncio
import time

import pytest

from airflow_lockprovider import LeaseHook
from airflow_lockprovider.lease.settings import LeaseSettings
from airflow_lockprovider.triggers.coordinator import Coordinator

LONG = 8.0
"""A poll interval that no test waits for: who comes earlier was woken up."""


@pytest.mark.usefixtures("hook")
def test_a_waiting_trigger_is_woken_long_before_the_next_poll() -> None:
    waiting_hook = LeaseHook(settings=LeaseSettings(poll_interval=LONG))
    other = LeaseHook()
    held = other.try_acquire("x")
    number = other.enqueue("x", owner_id="me").number

    async def wait() -> float:
        await waiting_hook.resolve()
        coordinator = Coordinator(waiting_hook)
        waiting = coordinator.wait(number, handover_ttl=None, not_before=0.0)
        waiting.since -= 1000  # a fresh ticket would look often at first
        for _ in range(200):
            await asyncio.sleep(0.02)
            if other.queue("x")[0].waited > 0.5:
                break
        sent = time.monotonic()
        other.release(held)
        async with asyncio.timeout(LONG):
            lease = await waiting.answer
        assert lease
        return time.monotonic() - sent

    assert asyncio.run(wait()) < LONG / 2
    other.close()
