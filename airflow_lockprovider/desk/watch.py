"""What is wrong with leases and queues: pure rules, judged by what the database has just said."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from airflow_lockprovider.desk.cells import duration
from airflow_lockprovider.desk.growth import Growth
from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.lease.model import Lease, LeaseEvent, Waiter
from airflow_lockprovider.lease.settings import LeaseSettings

HELD, LATE, WAITING = "held too long", "renewal late", "waiting too long"
QUEUE, GROWING = "queue too long", "queue growing"
DEAD, LOST, FORGOTTEN = "dead owner", "lease lost", "waiter forgotten"
BY_TASK_STATE = frozenset({DEAD, LOST, FORGOTTEN})
"""Kinds that only the states of the tasks can tell."""
_ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
_AT_WORK = frozenset({"running", "deferred"})
_MISSED = 2
"""Renewals that may be missed before it is worth a word."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From when on it is too long. None: never."""

    held: float | None = 3600.0
    """Seconds; for leases that do not say how long they are expected to be held (``expected_hold``)."""
    waiting: float | None = 3600.0
    """Seconds."""
    queue: int | None = 20
    """Living waiters of one lock."""
    growth: float | None = 3600.0
    """Seconds; a queue that has grown for so long is told, however short it is."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that somebody should look at."""

    kind: str
    lock_name: str
    owner: str
    """Whom it is about; empty: the lock as a whole."""
    text: str
    """What is the matter, in a sentence."""
    todo: str
    """What to do about it. ``{program}`` stands for ``airflow locks`` or ``lockprovider``."""
    seconds: float | None = None
    """How long, where that is the matter."""
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The same for the same trouble: kind and lock."""
        return f"watch/{self.kind}/{self.lock_name}"


def problems(
    leases: Sequence[Lease],
    waiters: Sequence[Waiter],
    thresholds: Thresholds,
    settings: LeaseSettings,
    *,
    history: Iterable[LeaseEvent] = (),
    states: Mapping[str, str] | None = None,
    growth: Iterable[Growth] = (),
) -> list[Problem]:
    """All that is wrong, lock by lock.

    ``settings`` say how often leases are renewed. ``history``: the latest events, newest first: for the usual time a
    lock is held, and for leases that were lost. ``states``: owner id → state of the task instance behind it, as far
    as it is known; without them nobody can tell a dead owner from one that works long. ``growth``: what has become of
    the lines in the last ``thresholds.growth`` seconds (`LeaseEngine.queue_growth`); without it no queue is growing.
    """
    history, states = list(history), states or {}
    usual = _usual_holds(history)
    found = [
        *(problem for lease in leases if (problem := _held(lease, thresholds))),
        *(problem for lease in leases if (problem := _late(lease, settings))),
        *(problem for lease in leases if (problem := _dead(lease, states))),
        *_lost(history, leases, waiters, states),
        *(problem for waiter in waiters if (problem := _waiting(waiter, thresholds))),
        *(problem for waiter in waiters if (problem := _forgotten(waiter, states))),
        *_queues(waiters, thresholds, usual),
        *(problem for line in growth if (problem := _growing(line, waiters, thresholds, usual))),
    ]
    return sorted(found, key=lambda problem: problem.lock_name)


def expected_hold(lease: Lease, thresholds: Thresholds) -> float | None:
    """From how many seconds on a lease is held too long. None: never."""
    said = lease.context.get("expected_hold")
    return float(said) if isinstance(said, int | float) and said > 0 else thresholds.held


def renewal_age(lease: Lease) -> float:
    """Seconds since the lease was granted or renewed last: a renewal gives it its whole ttl again."""
    return max(0.0, lease.ttl - lease.remaining)


def _held(lease: Lease, thresholds: Thresholds) -> Problem | None:
    limit = expected_hold(lease, thresholds)
    held = (lease.expires_at - lease.created_at).total_seconds() - lease.remaining
    if lease.state != "held" or limit is None or held <= limit:
        return None
    return _of_lease(
        HELD,
        lease,
        f"held for {duration(held)}, expected were {duration(limit)} at most",
        "look at its task; if it hangs: {program} revoke " + _quoted(lease.lock_name) + " --reason …",
        held,
    )


def _late(lease: Lease, settings: LeaseSettings) -> Problem | None:
    if lease.state != "held" or renewal_age(lease) <= _MISSED * _renewal_period(lease, settings):
        return None
    return _of_lease(
        LATE,
        lease,
        f"not renewed for {duration(renewal_age(lease))}, it ends by itself in {duration(lease.remaining)}",
        "see whether its worker or triggerer lives and reaches the database; if not, the lock is free then",
        renewal_age(lease),
    )


def _dead(lease: Lease, states: Mapping[str, str]) -> Problem | None:
    state = states.get(lease.owner_id)
    # The first task of a scope ends long before its lease.
    if lease.state != "held" or state not in _ENDED or lease.context.get("scope"):
        return None
    where = " on " + str(lease.context["host"]) if lease.context.get("host") else ""
    process = f" (process {lease.context['pid']})" if lease.context.get("pid") else ""
    return _of_lease(
        DEAD,
        lease,
        f"its task is {state}, but the lease lives: the work may still go on{where}{process}",
        "end that process; then, or if there is none: {program} revoke " + _quoted(lease.lock_name) + " --reason …",
        detail={"task_state": state},
    )


def _lost(
    history: Sequence[LeaseEvent], leases: Sequence[Lease], waiters: Sequence[Waiter], states: Mapping[str, str]
) -> Iterator[Problem]:
    alive = {(lease.lock_name, lease.owner_id) for lease in leases}
    alive |= {(waiter.lock_name, waiter.owner_id) for waiter in waiters}
    told = set()
    for event in history:
        who = (event.lock_name, event.owner_id)
        if who in told or who in alive or event.event == "guarded":
            continue
        told.add(who)  # its newest event decides
        if event.event in ("expired", "revoked") and states.get(event.owner_id) in _AT_WORK:
            yield Problem(
                LOST,
                event.lock_name,
                event.owner,
                f"its lease has {'expired' if event.event == 'expired' else 'been revoked'} at "
                f"{event.at:%Y-%m-%d %H:%M:%S%z}, but the task is {states[event.owner_id]}",
                "its guarded writes fail; all else it does may overlap with its successor: stop the task",
                detail={"token": event.token, "task_state": states[event.owner_id]},
            )


def _waiting(waiter: Waiter, thresholds: Thresholds) -> Problem | None:
    if not waiter.alive or thresholds.waiting is None or waiter.waited <= thresholds.waiting:
        return None
    why = "; ".join(map(str, waiter.blocked_by)) or "nothing: it is about to start"
    return _of_waiter(
        WAITING,
        waiter,
        f"waiting for {duration(waiter.waited)}, at place {waiter.position}; in its way: {why}",
        "{program} show " + _quoted(waiter.lock_name),
    )


def _forgotten(waiter: Waiter, states: Mapping[str, str]) -> Problem | None:
    state = states.get(waiter.owner_id)
    if waiter.alive or state is None or state in _ENDED or state == "up_for_retry":
        return None
    return _of_waiter(
        FORGOTTEN,
        waiter,
        f"its task is {state}, but nobody looks after its place in line: others pass it",
        "see whether a triggerer runs and reaches the database: airflow jobs check --job-type TriggererJob",
    )


def _queues(waiters: Sequence[Waiter], thresholds: Thresholds, usual: Mapping[str, float]) -> Iterator[Problem]:
    lines: dict[str, int] = defaultdict(int)
    for waiter in waiters:
        lines[waiter.lock_name] += waiter.alive
    for name, length in lines.items():
        if thresholds.queue is not None and length > thresholds.queue:
            drain = f"; it is usually held for {duration(usual[name])}" if name in usual else ""
            yield Problem(
                QUEUE,
                name,
                "",
                f"{length} are waiting{drain}",
                "{program} queue --lock " + _quoted(name) + "; fewer users, shorter work, or more capacity",
                detail={"waiters": length, "usual_hold_seconds": usual.get(name)},
            )


def _growing(
    line: Growth, waiters: Sequence[Waiter], thresholds: Thresholds, usual: Mapping[str, float]
) -> Problem | None:
    if thresholds.growth is None or not line.is_steady:
        return None
    wait, hold = _wait_of_the_last(line, waiters, usual), usual.get(line.lock_name)
    pace = f"; it is usually held for {duration(hold)}" if hold is not None else ""
    if wait is not None:
        pace += f", so the last in line waits about {duration(wait)}"
    name = _quoted(line.lock_name)
    return Problem(
        GROWING,
        line.lock_name,
        "",
        line.in_words(thresholds.growth) + pace,
        "it will not get shorter by itself: fewer users, shorter work, or more capacity ({program} set "
        + name
        + " --capacity …); who they are: {program} queue --lock "
        + name,
        wait,
        {**asdict(line), "span_seconds": thresholds.growth, "usual_hold_seconds": hold, "wait_seconds": wait},
    )


def _wait_of_the_last(line: Growth, waiters: Sequence[Waiter], usual: Mapping[str, float]) -> float | None:
    """As long as all before it, and the one that holds it now, take. None: nobody can say.

    Readers share the lock: how many of them go in together depends on who stands between them.
    """
    units = [waiter.units for waiter in waiters if waiter.lock_name == line.lock_name and waiter.alive]
    shared = any(waiter.shared for waiter in waiters if waiter.lock_name == line.lock_name)
    if line.lock_name not in usual or shared or not units:
        return None
    return usual[line.lock_name] * sum(units) / line.capacity


def _usual_holds(history: Iterable[LeaseEvent]) -> dict[str, float]:
    held: dict[str, list[float]] = defaultdict(list)
    for event in history:
        if event.event == "released" and event.held is not None:
            held[event.lock_name].append(event.held)
    return {name: sorted(times)[len(times) // 2] for name, times in held.items()}


def _renewal_period(lease: Lease, settings: LeaseSettings) -> float:
    try:
        return settings.renewal_period(lease.ttl)
    except ConfigurationError:  # a renew_every that is meant for longer leases
        return lease.ttl / 4


def _of_lease(
    kind: str, lease: Lease, text: str, todo: str, seconds: float | None = None, detail: Mapping[str, Any] | None = None
) -> Problem:
    about = {"token": lease.token, "owner_id": lease.owner_id, "context": dict(lease.context), **(detail or {})}
    return Problem(kind, lease.lock_name, lease.owner, text, todo, seconds, about)


def _of_waiter(kind: str, waiter: Waiter, text: str, todo: str) -> Problem:
    about = {"ticket": waiter.ticket, "owner_id": waiter.owner_id, "position": waiter.position}
    return Problem(kind, waiter.lock_name, waiter.owner, text, todo, waiter.waited, about)


def _quoted(name: str) -> str:
    """The name as a shell takes it, and as format() leaves it."""
    return shlex.quote(name).replace("{", "{{").replace("}", "}}")
