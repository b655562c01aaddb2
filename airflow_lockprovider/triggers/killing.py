"""``on_kill()`` of a trigger runs to its end.

Airflow 3.3.2 cancels a trigger anew at every turn of its loop (about once a second) until it has gone, also while its
``on_kill()`` runs: the supervisor repeats ``to_cancel`` (triggerer_job_runner.py, ``cancelling_triggers``), and the
interruption is swallowed. What takes longer than a second would never be done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

LONGEST = 25.0
"""Seconds. Airflow waits for ``[triggerer] on_kill_timeout`` (30 s)."""

_going_on: set[asyncio.Task[None]] = set()
"""The event loop itself does not hold on to its tasks, and whoever waits for these may be gone before they are done."""


async def to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` to its end, however often this task is cancelled meanwhile. After `LONGEST` it is cancelled, too."""
    loop, this_task = asyncio.get_running_loop(), asyncio.current_task()
    assert this_task is not None
    doing = asyncio.create_task(_with_portal(work))
    _going_on.add(doing)
    doing.add_done_callback(_going_on.discard)
    end = loop.time() + LONGEST
    while not doing.done():
        try:
            await asyncio.wait({doing}, timeout=max(0.0, end - loop.time()))
        except asyncio.CancelledError:
            this_task.uncancel()
        if loop.time() >= end:
            doing.cancel()
            break
    await doing


async def _with_portal(work: Coroutine[Any, Any, None]) -> None:
    """Synchronous calls of Airflow's SDK need a portal in their task: Airflow opens one for its triggers."""
    import greenback

    await greenback.ensure_portal()
    await work
