"""The local clock that deadlines are measured on. It decides nothing about others, only when *we* must stop."""

from __future__ import annotations

import time


def boottime() -> float:
    """Seconds on a clock that goes on while the machine sleeps, where there is one (Linux), else monotonic.

    A suspended laptop or virtual machine must not believe that its lease still lives.
    """
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
