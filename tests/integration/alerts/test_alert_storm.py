"""A thousand failures of a task in a minute, in several processes: few messages, the right number, one RECOVERED."""

from __future__ import annotations

import multiprocessing
import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_lockprovider import LeaseHook
from airflow_lockprovider.demo.mail import MailSink

from .conftest import Bus

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
PROCESSES, TIMES = 4, 250


def _notifier(bus: str) -> Any:
    from airflow_lockprovider.notifications import AlertNotifier, EventBridgeNotifier, FailureEmail

    return AlertNotifier(channels=[FailureEmail(to="team@example.com"), EventBridgeNotifier(bus)], channel_timeout=30)


def _context(run: str, state: str = "failed") -> dict[str, Any]:
    ti = SimpleNamespace(
        dag_id="nightly", run_id=run, task_id="load", map_index=-1, try_number=1, max_tries=0, state=state, id=run
    )
    return {"ti": ti, "exception": ValueError("no such file") if state == "failed" else None}


def _fail_many_times(worker: int, bus: str) -> None:
    alerts = _notifier(bus)
    for number in range(TIMES):
        at = NOON + timedelta(seconds=60 * number / TIMES)
        alerts.tell(_context(f"run {worker}/{number}"), at=at)


@pytest.mark.deep  # the ledger's own storm, in tests/integration/lease, is part of make test
def test_storm_is_told_a_few_times_with_the_right_number_and_one_recovery(locks: LeaseHook, bus: Bus, mails: MailSink):
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=_fail_many_times, args=(number, bus.name)) for number in range(PROCESSES)]
    for process in workers:
        process.start()
    for process in workers:
        process.join(timeout=180)
        assert process.exitcode == 0
    for second in (90, 91, 92):
        _notifier(bus.name).tell(_context(f"run {second}", "success"), at=NOON + timedelta(seconds=second))

    events = [event["detail"] for event in bus.received()]
    failed = [event["alert"] for event in events if event["alert"]["kind"] == "failed"]
    recovered = [event["alert"] for event in events if event["alert"]["kind"] == "recovered"]
    assert sorted(alert["occurrences"] for alert in failed) == [1, 10, 100, 1000]
    assert sum(alert["unknown"] for alert in failed) == 1000
    assert [alert["occurrences"] for alert in recovered] == [1000]
    subjects = [mail["Subject"] for mail in mails.messages()]
    assert len(subjects) == 5
    assert sum("RECOVERED" in subject for subject in subjects) == 1
    (last,) = [mail for mail in mails.messages() if "(900 since" in mail["Subject"]]
    body = str(last.get_body(("html",)).get_content())  # type: ignore[union-attr]
    assert re.search(r"900 more since the last message .* 1,000 times since 2026-11-21 12:00:00", body)
