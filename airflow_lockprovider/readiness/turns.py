"""How many listings of one process are read at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore


class Turns:
    """At most ``places`` at a time; who has waited for ``patience`` seconds goes on all the same.

    Threads that read long answers take turns with the triggerer's loop, up to 5 ms each: the more of them, the longer
    it stands still, however many sensors there are. But a server that does not answer, and has all places, must not
    keep others from theirs.
    """

    def __init__(self, places: int, *, patience: float) -> None:
        self._places = BoundedSemaphore(places)
        self._patience = patience

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a place and have it inside."""
        has_place = self._places.acquire(timeout=self._patience)
        try:
            yield
        finally:
            if has_place:
                self._places.release()
