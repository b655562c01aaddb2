"""``airflow locks doctor``: the database of the locks, and what in this Airflow has to fit them."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator

from airflow_lockprovider import config
from airflow_lockprovider.compat import KNOWS_RUN_MODELS, airflow_version, conf
from airflow_lockprovider.desk.doctor import Finding, examine
from airflow_lockprovider.desk.report import report
from airflow_lockprovider.desk.verbs import Desk
from airflow_lockprovider.lease.settings import LeaseSettings
from airflow_lockprovider.triggers.settle import settle_time

_WORKER_START = 20.0
"""Seconds that a worker may well need from its task being queued to the first line of ours."""
_BEATS = 2
"""Heartbeats that pass until another triggerer has taken over, beside the threshold."""


def doctor(args: Namespace, desk: Desk) -> None:
    """Print what was looked at. Raises Found if something is wrong; warnings are no reason."""
    report([*examine(desk.engine, desk.program), *_airflow(desk.engine.settings)], args.output, desk)


def _airflow(settings: LeaseSettings) -> Iterator[Finding]:
    yield _ttl(settings)
    yield _handover(settings)
    for check, look in (("triggerer", _triggerers), ("rules", _rules), ("alerts", _alerts), ("watch", _watch)):
        yield _safely(check, look)
    if KNOWS_RUN_MODELS:
        yield Finding("run one task alone", "ok", f"Airflow {airflow_version()} is one that it was made for")
    else:
        text = f"it was not made for Airflow {airflow_version()}, and refuses"
        yield Finding("run one task alone", "warning", text, "clear the task in an earlier run instead")


def _ttl(settings: LeaseSettings) -> Finding:
    """A lease has to outlive its triggerer: from the last renewal until another one has taken over."""
    threshold = conf.getfloat("triggerer", "triggerer_health_check_threshold", fallback=30.0)
    beat = conf.getfloat("triggerer", "job_heartbeat_sec", fallback=5.0)
    takeover = threshold + _BEATS * beat
    period, trusted = settings.renewal_period(settings.ttl), settings.give_up_after(settings.ttl)
    text = f"ttl {settings.ttl:g} s, renewed every {period:g} s; a dead triggerer is replaced after {takeover:g} s"
    if period + takeover <= trusted:
        return Finding("ttl", "ok", text)
    share = trusted / settings.ttl
    needed = takeover / (share - 0.25) if settings.renew_every is None else (takeover + period) / share
    return Finding(
        "ttl",
        "warning",
        f"{text}: deferred tasks lose their leases when a triggerer dies",
        f"ttl of {needed:.0f} s or more, or a lower [triggerer] triggerer_health_check_threshold",
    )


def _handover(settings: LeaseSettings) -> Finding:
    needed = max(_WORKER_START, settle_time())
    text = f"handover_ttl {settings.handover_ttl:g} s: so long a free lock waits for the worker of the next in line"
    if settings.handover_ttl >= needed:
        return Finding("handover", "ok", text)
    return Finding(
        "handover", "warning", f"{text}; a worker may need {needed:g} s to start", "raise it, the default is 60"
    )


def _triggerers() -> Finding:
    from airflow.jobs.job import Job
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        jobs = session.scalars(select(Job).where(Job.job_type == "TriggererJob", Job.state == "running"))
        alive = sum(job.is_alive() for job in jobs)
    if alive:
        return Finding("triggerer", "ok", f"{alive} alive")
    text = "none is alive: waiting tasks stay deferred, and leases of deferred tasks end"
    return Finding("triggerer", "wrong", text, "start one: airflow triggerer")


def _rules() -> Finding:
    from airflow_lockprovider.policies.rule_file import read_rules

    path = config.rules_file()
    if path is None:
        return Finding("rules", "ok", "no rule file is configured")
    return Finding("rules", "ok", f"{len(read_rules(path))} in {path}; which tasks they fit: airflow locks rules")


def _alerts() -> Finding:
    from airflow_lockprovider.notifications import AlertNotifier

    notifier = AlertNotifier.configured()
    if notifier is None:
        text = "no channels are configured: the watch only writes into its log"
        return Finding("alerts", "warning", text, "set alerts in section lockprovider to a file with channels")
    every = conf.getboolean(config.SECTION, "alert_every_failure", fallback=False)
    told = "every failed task" if every else "what DAGs, tasks and the watch tell them"
    text = f"channels that hear of {told}: {len(notifier.channels or ())}"
    if every:
        text += "; with any listener Airflow 3.3 refuses tasks that say end_from_trigger=True"
    return Finding("alerts", "ok", text)


def _watch() -> Finding:
    shown = {
        "held": config.watch_held(),
        "waiting": config.watch_waiting(),
        "queue": config.watch_queue(),
        "growth": config.watch_growth(),
    }
    limits = ", ".join(f"{name} {'never' if value is None else f'{value:g}'}" for name, value in shown.items())
    return Finding("watch", "ok", f"too long is: {limits} (seconds; waiters)")


def _safely(check: str, look: Callable[[], Finding]) -> Finding:
    """One look; if it fails that is the finding. Errors of ours say themselves what to do."""
    try:
        return look()
    except Exception as error:
        return Finding(check, "wrong", " ".join(str(error).split()) or type(error).__name__)
