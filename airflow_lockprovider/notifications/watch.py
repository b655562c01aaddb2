"""The watch, with its voice: looks at all locks, tells people what is wrong, and when it is over."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_lockprovider import config
from airflow_lockprovider.desk.watch import BY_TASK_STATE, Problem, Thresholds
from airflow_lockprovider.desk.watching import Round, watch
from airflow_lockprovider.hooks.lease import LeaseHook
from airflow_lockprovider.hooks.task_states import task_states

if TYPE_CHECKING:
    from airflow_lockprovider.notifications.alert_notifier import AlertNotifier

log = logging.getLogger(__name__)

_PREFIX = "watch/"
_PROGRAM = "airflow locks"
_SHOWN = 10
"""Owners that one alert names."""


def configured_thresholds() -> Thresholds:
    """As ``[lockprovider]`` says. Raises ConfigurationError that names the option and its value."""
    return Thresholds(
        held=config.watch_held(),
        waiting=config.watch_waiting(),
        queue=config.watch_queue(),
        growth=config.watch_growth(),
    )


def watch_locks(
    lease_conn_id: str | None = None,
    *,
    notifier: AlertNotifier | None = None,
    thresholds: Thresholds | None = None,
    clean_up: bool = True,
) -> list[Problem]:
    """One round: clean up, look at all locks, alert, set the gauges. For a task that runs every minute.

    :param lease_conn_id: connection of the database with the locks; default ``[lockprovider] lease_conn_id``
    :param notifier: whom to tell; default the channels of ``[lockprovider] alerts``. Without any, problems are logged
    :param thresholds: from when on it is too long; default from ``[lockprovider]``
    :param clean_up: also remove expired leases and forgotten waiters, which nobody else does

    Returns what it has found. Raises as the engine's verbs do: a watch that cannot look must not be green.
    """
    from airflow_lockprovider.metrics import report_locks
    from airflow_lockprovider.notifications.alert_notifier import AlertNotifier

    hook = LeaseHook(lease_conn_id)
    try:
        seen = watch(hook, thresholds or configured_thresholds(), states=task_states, clean_up=clean_up)
    finally:
        hook.close()
    _log(seen)
    report_locks(seen.leases, seen.waiters, known=seen.lock_names)
    notifier = notifier or AlertNotifier.configured()
    if notifier is not None:
        alert(seen, notifier)
    return list(seen.problems)


def alert(seen: Round, notifier: AlertNotifier) -> None:
    """Tell what is wrong, lock by lock, and what was and is no more. The notifier knows how often people hear it."""
    from airflow_lockprovider.notifications.notice import Notice

    groups: dict[str, list[Problem]] = defaultdict(list)
    for problem in seen.problems:
        groups[problem.key].append(problem)
    for key, group in groups.items():
        first = group[0]
        notifier.send(
            Notice(
                key=key,
                title=_title(first.kind, first.lock_name),
                text=_text(group),
                kind=first.kind,
                detail={"lock_name": first.lock_name, "problems": [_plain(problem) for problem in group[:_SHOWN]]},
                link=next((link for problem in group if (link := _link(problem))), None),
            )
        )
    for key in notifier.open_keys(_PREFIX):
        kind, _, lock_name = key.removeprefix(_PREFIX).partition("/")
        unknown = (seen.blind and kind in BY_TASK_STATE) or seen.only not in (None, lock_name)
        if key not in groups and not unknown:
            notifier.recover(key, title=f"{_title(kind, lock_name)}: no more")
    notifier.send_pending()


def _title(kind: str, lock_name: str) -> str:
    return f"lock {lock_name!r}: {kind}"


def _text(group: Sequence[Problem]) -> str:
    lines = [f"{problem.owner}: {problem.text}" if problem.owner else problem.text for problem in group[:_SHOWN]]
    if len(group) > _SHOWN:
        lines.append(f"and {len(group) - _SHOWN} more")
    todo = dict.fromkeys(problem.todo.format(program=_PROGRAM) for problem in group[:_SHOWN])
    return "\n".join([*lines, *(f"→ {step}" for step in todo)])


def _plain(problem: Problem) -> dict[str, object]:
    return {"owner": problem.owner, "text": problem.text, "seconds": problem.seconds, **problem.detail}


def _link(problem: Problem) -> str | None:
    context = problem.detail.get("context") or {}
    return context.get("log_url")


def _log(seen: Round) -> None:
    log.info(
        "%s leases, %s waiting, %s cleaned up, %s problems",
        len(seen.leases),
        len(seen.waiters),
        seen.cleaned_up,
        len(seen.problems),
    )
    for problem in seen.problems:
        log.warning(
            "lock %r: %s%s: %s; %s",
            problem.lock_name,
            problem.kind,
            f", {problem.owner}" if problem.owner else "",
            problem.text,
            problem.todo.format(program=_PROGRAM),
        )
