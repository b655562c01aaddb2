"""The engine's verbs for a page: many locks at a look, filtered, sorted and cut by the database."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any, Literal

from airflow_lockprovider.lease.blocking import explain
from airflow_lockprovider.lease.calls import Calls
from airflow_lockprovider.lease.model import Waiter

Row = dict[str, Any]
Mark = Literal["late", "too_long", "draining", "paused", "waited"]
Sort = Literal["lock", "owner", "state", "held_for", "expires_in", "token", "units", "waiters"]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which locks. Nothing given: all. By task means held by it, or waited for by it."""

    lock_name: str | None = None
    search: str | None = None
    """Part of the lock's name, of the owner's label, or of why it is paused; case does not matter."""
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int | None = None

    def params(self) -> Row:
        """For the statements: the map index is text in a lease's context."""
        given = asdict(self)
        return given | {"map_index": None if self.map_index is None else str(self.map_index)}

    def fits(self, context: Row) -> bool:
        """Whether a lease or request with this context is of the wanted DAG, run, task."""
        names = ("dag_id", "run_id", "task_id", "map_index")
        return all(getattr(self, name) in (None, context.get(name)) for name in names)


ALL = Filter()
_COUNTS = ("rows", "leases", "late", "too_long", "draining", "paused")


@dataclass(frozen=True, slots=True)
class Overview:
    """One page of rows, and how many there are of which kind."""

    rows: list[Row]
    counts: dict[str, int]
    """Over the filter: rows, leases, late (expired ones, too), too_long, draining, paused."""
    matching: int
    """Rows with the mark, on all pages."""


@dataclass(frozen=True, slots=True)
class Line:
    """The first of those who wait."""

    waiters: list[Waiter]
    """By lock and place, each with what stands in its way."""
    matching: int
    """How many are wanted in all."""


class OverviewVerbs(Calls):
    """Part of `LeaseEngine`: what a page shows. Rows as they are, durations in seconds."""

    def overview(
        self,
        wanted: Filter = ALL,
        *,
        watch_held: float | None,
        mark: Mark | None = None,
        sort: Sort = "lock",
        descending: bool = False,
        limit: int = 200,
        offset: int = 0,
    ) -> Overview:
        """A row per lease, and per lock without one that is paused, waited for, or asked for by its name.

        Marks: ``late`` (two renewals were missed), ``expired``, ``too_long`` (longer than its expected_hold, or than
        ``watch_held`` seconds; None: never), ``draining``.
        """
        rows = self.store.call(
            "page_locks",
            **wanted.params(),
            watch_held=watch_held,
            renew_every=self.settings.renew_every,
            mark=mark,
            sort=sort,
            descending=descending,
            limit=limit,
            offset=offset,
        )
        first = rows[0]
        return Overview(
            [_read(row) for row in rows if row["lock_name"] is not None],
            {name: first[f"all_{name}"] for name in _COUNTS},
            first["matching"],
        )

    def line(self, wanted: Filter = ALL, *, beside: Collection[str] = (), limit: int = 200) -> Line:
        """Who waits and why. By task: also who waits for one of the locks ``beside``, those that are shown with it."""
        rows = self.store.call(
            "page_line",
            **wanted.params(),
            lock_names=list(beside),
            skip_after=self.settings.skip_after,
            limit=limit,
        )
        if not rows:
            return Line([], 0)
        # Older requests that nobody asked for are among the rows: they stand in the way, too.
        shown = {(row["lock_name"], row["ticket"]) for row in rows if row["wanted"]}
        told = explain([self._waiter(row) for row in rows], self.store.call("holders", lock_name=wanted.lock_name))
        return Line([one for one in told if (one.lock_name, one.ticket) in shown], int(rows[0]["matching"]))

    def events(self, wanted: Filter = ALL, *, before: int | None = None, limit: int = 100) -> list[Row]:
        """History with contexts, newest first; ``before`` is the event_id at which the last answer ended."""
        given = {name: value for name, value in wanted.params().items() if name != "search"}
        return [_read(row) for row in self.store.call("page_events", **given, before=before, limit=limit)]

    def lock_statistics(self, seconds: float, name: str | None = None, limit: int = 500) -> list[Row]:
        """How long each lock was held and waited for in the last ``seconds``; the busiest first."""
        return self.store.call("page_lock_stats", lock_name=name, seconds=seconds, limit=limit)

    def owner_statistics(self, seconds: float, wanted: Filter = ALL, limit: int = 500) -> list[Row]:
        """The same by task (or other owner) and lock."""
        given = {name: getattr(wanted, name) for name in ("lock_name", "dag_id", "task_id")}
        return self.store.call("page_owner_stats", **given, seconds=seconds, limit=limit)

    def queue_growth(self, seconds: float, name: str | None = None) -> list[Row]:
        """A row per lock for which somebody waits: is its line getting longer?

        How many waited when the last ``seconds`` began, in their middle, in their last quarter and wait now
        (``at_begin``, ``at_middle``, ``at_late``, ``waiting``: the living ones), and how many ``came``, were ``served``
        and ``gave_up`` meanwhile. Who got the lock at once never stood in line.
        """
        return self.store.call(
            "queue_growth",
            lock_name=name,
            seconds=seconds,
            skip_after=self.settings.skip_after,
            prune_after=self.settings.prune_after,
        )


def _read(row: Row) -> Row:
    context = row["context"]
    return {**row, "context": json.loads(context) if isinstance(context, str) else context or {}}
