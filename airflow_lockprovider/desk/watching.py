"""One round of the watch: look, ask for the state of the tasks behind, look again, judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from airflow_lockprovider.desk.growth import Growth
from airflow_lockprovider.desk.watch import DEAD, Problem, Thresholds, problems
from airflow_lockprovider.lease.engine import LeaseEngine
from airflow_lockprovider.lease.model import Lease, LeaseEvent, Waiter
from airflow_lockprovider.lease.overview import Filter

_FAR_BACK = 1000
"""How many events are looked through."""


@dataclass(frozen=True, slots=True)
class Party:
    """Who stands behind a lease, a place in line or an event."""

    owner_id: str
    """In Airflow: the id of the task instance."""
    context: Mapping[str, Any]
    """dag_id, run_id, task_id, map_index where known."""


TaskStates = Callable[[Sequence[Party]], Mapping[str, str] | None]
"""Owner id → state of the task instance, of those for whom it is known. None: Airflow did not answer."""


@dataclass(frozen=True, slots=True)
class Round:
    """What a round has seen."""

    problems: tuple[Problem, ...]
    leases: tuple[Lease, ...]
    waiters: tuple[Waiter, ...]
    lock_names: frozenset[str] = frozenset()
    """Locks of which anything was heard lately."""
    blind: bool = False
    """Nobody could say how the tasks are: whether an owner is dead is unknown."""
    cleaned_up: int = 0
    only: str | None = None
    """The one lock that was looked at; None: all."""


def watch(
    engine: LeaseEngine,
    thresholds: Thresholds,
    *,
    name: str | None = None,
    states: TaskStates | None = None,
    clean_up: bool = False,
) -> Round:
    """Look at all locks, or at one, and judge. ``clean_up``: remove first what is over; else nothing is changed."""
    cleaned = engine.clean_up() if clean_up else 0
    leases, waiters = engine.leases(name), engine.queue(name)
    events = engine.events(Filter(lock_name=name), limit=_FAR_BACK)
    history = [LeaseEvent(**{field.name: event[field.name] for field in fields(LeaseEvent)}) for event in events]
    lines = [] if thresholds.growth is None else engine.queue_growth(thresholds.growth, name)
    growth = [Growth(**row) for row in lines]
    known: Mapping[str, str] | None = None
    if states is not None:
        parties = [Party(lease.owner_id, lease.context) for lease in leases]
        parties += [Party(waiter.owner_id, waiter.context) for waiter in waiters]
        parties += [
            Party(event["owner_id"], event["context"]) for event in events if event["event"] in ("expired", "revoked")
        ]
        known = states(parties)
    found = problems(leases, waiters, thresholds, engine.settings, history=history, states=known, growth=growth)
    if any(problem.kind == DEAD for problem in found):
        # A task gives its lock back before it says that it has ended: what is gone by now was in order.
        still = {lease.token for lease in engine.leases(name)}
        found = [problem for problem in found if problem.kind != DEAD or problem.detail["token"] in still]
    names = frozenset(event.lock_name for event in history)
    return Round(tuple(found), tuple(leases), tuple(waiters), names, known is None, cleaned, name)
