"""What the demo says while it works: one line per event, with the seconds since its start."""

from __future__ import annotations

import threading
import time


class Console:
    """Prints lines such as ``[ 12 s] airflow: waiting for scheduler``, from any thread, at once."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._one_at_a_time = threading.Lock()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def say(self, topic: str, text: str) -> None:
        """One line; ``topic`` is the part that it is about."""
        with self._one_at_a_time:
            print(f"[{self.elapsed:3.0f} s] {topic}: {text}", flush=True)

    def show(self, text: str = "") -> None:
        """Text as it is."""
        with self._one_at_a_time:
            print(text, flush=True)
