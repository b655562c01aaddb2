from __future__ import annotations

import asyncio

import pytest

from airflow_lockprovider.triggers import killing


def cancelled_often(seconds: float, done: list[str]) -> None:
    """Runs work of that length in a task that is cancelled every 50 ms."""

    async def work() -> None:
        await asyncio.sleep(seconds)
        done.append("done")

    async def run() -> None:
        task = asyncio.create_task(killing.to_the_end(work()))
        while not task.done():
            await asyncio.sleep(0.05)
            task.cancel()
        await task

    asyncio.run(run())


def test_what_a_killed_trigger_has_to_do_is_done_though_airflow_cancels_it_again_and_again() -> None:
    done: list[str] = []
    cancelled_often(0.4, done)
    assert done == ["done"]


def test_it_does_not_go_on_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(killing, "LONGEST", 0.3)
    done: list[str] = []
    with pytest.raises(asyncio.CancelledError):
        cancelled_often(30, done)
    assert done == []


def test_what_goes_wrong_is_said() -> None:
    async def fails() -> None:
        raise ValueError("no connection")

    with pytest.raises(ValueError, match="no connection"):
        asyncio.run(killing.to_the_end(fails()))
