"""The freeze: what is waited for is fixed once, and compared with the destination while the rows are at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, pairwise
from threading import Semaphore

from airflow_lockprovider.readiness.replication_finding import Finding
from airflow_lockprovider.readiness.table_format import TableFormats
from airflow_lockprovider.readiness.window import Row, Window, separator

LAST_KEY = "\U0010ffff"
"""Above every key that anybody uses."""


class Frozen:
    """The windows with what the first look found in each, and what was seen on the way. ``size`` in bytes."""

    def __init__(self) -> None:
        self.windows: list[Window] = []
        self.findings: list[Finding] = []
        self.size = 0
        self.formats = TableFormats()


def freeze(
    thousands: Iterable[list[Row]],
    look: Callable[[Window, list[Row]], Finding],
    *,
    workers: int,
    with_tail: bool,
) -> Frozen:
    """Make a window of each list of rows, and look at it in one of ``workers`` threads.

    ``with_tail``: one more window, an empty one, for all keys above the last.
    """
    frozen = Frozen()
    # Where the destination answers more slowly than the source, pages would pile up.
    room = Semaphore(2 * workers)
    looks: list[Future[Finding]] = []
    with ThreadPoolExecutor(workers, thread_name_prefix="readiness") as pool:
        for window, rows in _windows(thousands, with_tail=with_tail):
            frozen.windows.append(window)
            frozen.size += sum(row.size for row in rows)
            frozen.formats.see(rows)
            room.acquire()
            looks.append(pool.submit(look, window, rows))
            looks[-1].add_done_callback(lambda _: room.release())
    frozen.findings = [each.result() for each in looks]
    return frozen


def _windows(thousands: Iterable[list[Row]], *, with_tail: bool) -> Iterator[tuple[Window, list[Row]]]:
    after = ""
    nothing: list[Row] = []
    for rows, following in pairwise(chain(thousands, [nothing])):
        until = separator(rows[-1].key, following[0].key) if following else rows[-1].key
        yield Window.of(rows, after, until), rows
        after = until
    if with_tail:
        yield Window.of(nothing, after, LAST_KEY), nothing
