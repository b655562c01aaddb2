"""The freeze: what is waited for is fixed once, and compared with the destination while the rows are at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import chain, pairwise
from threading import Semaphore

from airflow_lockprovider.readiness.bucket import LAST_KEY, Bucket, Page
from airflow_lockprovider.readiness.replication_finding import Finding
from airflow_lockprovider.readiness.rows import Rows
from airflow_lockprovider.readiness.table_format import TableFormats
from airflow_lockprovider.readiness.window import WINDOW_KEYS, Window, separator


class Frozen:
    """The windows with what the first look found in each, and what was seen on the way. ``size`` in bytes."""

    def __init__(self) -> None:
        self.windows: list[Window] = []
        self.findings: list[Finding] = []
        self.size = 0
        self.formats = TableFormats()

    def see(self, window: Window, rows: Rows) -> None:
        """One more window, not yet looked at."""
        self.windows.append(window)
        self.size += sum(rows.sizes)
        self.formats.see(rows.keys)


def freeze_known(
    thousands: Iterable[Rows],
    look: Callable[[Window, Rows], Finding],
    *,
    workers: int,
    with_tail: bool,
) -> Frozen:
    """Make a window of each of these rows, and look at it in one of ``workers`` threads.

    ``with_tail``: one more window, an empty one, for all keys above the last.
    """
    frozen = Frozen()
    # Where the destination answers more slowly than the source, pages would pile up.
    room = Semaphore(2 * workers)
    looks: list[Future[Finding]] = []
    with ThreadPoolExecutor(workers, thread_name_prefix="readiness") as pool:
        for window, rows in windows_of(thousands, with_tail=with_tail):
            frozen.see(window, rows)
            room.acquire()
            looks.append(pool.submit(look, window, rows))
            looks[-1].add_done_callback(lambda _: room.release())
    frozen.findings = [each.result() for each in looks]
    return frozen


def freeze_listed(
    source: Bucket,
    destination: Bucket,
    compare: Callable[[Window, Rows, Rows], Finding],
    *,
    with_tail: bool,
    first_seen: Callable[[], None],
) -> Frozen:
    """List both buckets side by side and ``compare`` them window by window.

    Each is asked for its next page while the other's is on its way, but never for a page that is not needed: the
    destination is read no further than the source is known. ``first_seen`` is called with the source's first page at
    hand; what it raises ends the freeze.
    """
    frozen = Frozen()
    with ThreadPoolExecutor(2, thread_name_prefix="readiness") as pool:
        ours, theirs = _Reader(source, pool), _Reader(destination, pool)
        for window, rows in windows_of(_side_by_side(ours, theirs, first_seen), with_tail=with_tail):
            frozen.see(window, rows)
            frozen.findings.append(compare(window, rows, theirs.take(window)))
    return frozen


class _Reader:
    """Reads one bucket's listing page by page, the next one in a thread. ``known``: up to which key."""

    def __init__(self, bucket: Bucket, pool: Executor) -> None:
        self._pages = bucket.pages()
        self._pool = pool
        self._asked: Future[Page] | None = None
        self._held: list[Rows] = []
        self.known = ""

    def ask(self) -> None:
        """Ask for the next page, if there is one."""
        if self._asked is None and self.known != LAST_KEY:
            self._asked = self._pool.submit(next, self._pages)

    def collect(self) -> None:
        """Hold the page that was asked for."""
        if self._asked is not None:
            page = self._asked.result()
            self._asked, self.known = None, page.until
            self._held.append(page.rows)

    def take(self, window: Window) -> Rows:
        """The rows in the window's range, asked for if need be; those below are gone."""
        self.collect()
        while self.known < window.until:
            self.ask()
            self.collect()
        held = Rows.joined(self._held)
        self._held = [held.between(window.until, LAST_KEY)]
        return held.between(window.after, window.until)

    def thousands(self) -> Iterator[Rows]:
        """What is held, in lists of `WINDOW_KEYS`; what is left over at the listing's end, too."""
        held = Rows.joined(self._held)
        whole = len(held) if self.known == LAST_KEY else len(held) - len(held) % WINDOW_KEYS
        self._held = [held[whole:]]
        return held[:whole].in_lists_of(WINDOW_KEYS)


def _side_by_side(source: _Reader, destination: _Reader, first_seen: Callable[[], None]) -> Iterator[Rows]:
    """The source's rows in lists of `WINDOW_KEYS`; the destination's are asked for meanwhile."""
    source.ask()
    destination.ask()
    source.collect()
    first_seen()
    while True:
        source.ask()
        destination.collect()
        if source.known != LAST_KEY and destination.known <= source.known:
            destination.ask()  # there are keys above, and we shall want to know of them
        yield from source.thousands()
        if source.known == LAST_KEY:
            return
        source.collect()


def windows_of(thousands: Iterable[Rows], *, with_tail: bool = False) -> Iterator[tuple[Window, Rows]]:
    """A window around each of these rows."""
    after = ""
    nothing = Rows()
    for rows, following in pairwise(chain(thousands, [nothing])):
        until = separator(rows.keys[-1], following.keys[0]) if following else rows.keys[-1]
        yield Window.of(rows, after, until), rows
        after = until
    if with_tail:
        yield Window.of(nothing, after, LAST_KEY), nothing
