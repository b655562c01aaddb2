"""The mail can be read, and what failed cannot write into it."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

import airflow_lockprovider.notifications
from airflow_lockprovider.demo.mail import MailSink
from airflow_lockprovider.notifications import FailureEmail
from airflow_lockprovider.notifications.email_body import email_body, email_subject
from airflow_lockprovider.notifications.failure import failure_of
from airflow_lockprovider.notifications.lock_facts import LockFacts

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVIL = "<img src=x onerror=alert(1)>{{ 7 * 7 }}&"


def context(**changes: Any) -> dict[str, Any]:
    ti = SimpleNamespace(dag_id="nightly", run_id="r", task_id="load", try_number=1, max_tries=0, state="failed")
    return {"ti": ti, "run_id": "r", "exception": ValueError(EVIL), **changes}


def test_everything_from_outside_is_escaped():
    lock = LockFacts(EVIL, owner=EVIL, token=1, ending="revoked", ended_by=EVIL, ended_because=EVIL, problem=EVIL)
    body = email_body(failure_of(context(logical_date=NOON), lock=lock))

    assert "<img" not in body
    assert body.count("&lt;img src=x onerror=alert(1)&gt;{{ 7 * 7 }}&amp;") == 6
    assert "2026-03-01 12:00:00 UTC" in body


def test_only_web_addresses_become_links():
    ti = context()["ti"]
    ti.log_url = "javascript:alert(1)"
    assert "href" not in email_body(failure_of({"ti": ti}))
    ti.log_url = "https://airflow/dags/nightly?a=1&b=2"
    assert 'href="https://airflow/dags/nightly?a=1&amp;b=2"' in email_body(failure_of({"ti": ti}))


def test_task_that_held_no_lock_says_so_and_who_held_it():
    lock = LockFacts("dwh.sales", held_by=(("nightly/r/load#1", 7),))
    body = email_body(failure_of(context(), lock=lock))
    assert "none: this task did not hold the lock" in body
    assert "nightly/r/load#1 (token 7)" in body


def test_lock_that_was_free_at_once_was_not_waited_for():
    waited = [LockFacts("dwh.sales", token=1, waited_seconds=seconds) for seconds in (0.0, 2.5)]
    at_once, later = (email_body(failure_of(context(), lock=lock)) for lock in waited)
    assert "waited" not in at_once
    assert "<td>2.5 s</td>" in later


def test_unlocked_task_says_nothing_of_locks():
    assert "lock" not in email_body(failure_of(context(exception=None)))


def test_dead_worker_is_told_in_words():
    assert "Airflow handed over no error" in email_body(failure_of(context(exception=None)))


def test_subject_is_one_line():
    assert email_subject(failure_of({"reason": "a\r\nBcc: x@example.com", "run_id": "r"})).count("\n") == 0


@pytest.fixture
def mails(tmp_path, monkeypatch):
    with MailSink(tmp_path) as sink:
        connection = {
            "conn_type": "smtp",
            "host": "127.0.0.1",
            "port": sink.port,
            "extra": {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.com"},
        }
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(connection))
        monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(connection))
        yield sink


def test_one_notifier_sends_each_alert_with_its_own_texts(mails):
    notifier = FailureEmail(to="{{ ti.task_id }}@example.com", cc="boss@example.com", smtp_conn_id="other")
    for name in ("first", "second"):
        given = context()
        given["ti"].task_id = name
        notifier(given)

    assert [mail["Subject"] for mail in mails.messages()] == [
        "[Airflow] nightly.first failed",
        "[Airflow] nightly.second failed",
    ]
    assert [mail["X-Envelope-To"] for mail in mails.messages()] == [
        "first@example.com, boss@example.com",
        "second@example.com, boss@example.com",
    ]


def test_subject_and_sender_can_be_given(mails):
    FailureEmail(to="a@example.com", from_email="etl@example.com", subject="{{ run_id }} is broken")(context())

    (mail,) = mails.messages()
    assert (mail["Subject"], mail["From"]) == ("r is broken", "etl@example.com")


def test_it_can_be_awaited_as_deadline_alerts_do(mails):
    async def callback() -> None:
        run = {"dag_id": "nightly", "dag_run_id": "r"}
        await FailureEmail(to="a@example.com", context={"dag_run": run, "deadline": {}})  # type: ignore[typeddict-item]

    asyncio.run(callback())
    assert mails.messages()[0]["Subject"] == "[Airflow] DAG nightly failed: deadline missed"


def test_mail_server_that_is_down_is_an_error_that_airflow_logs(mails):
    mails.stop()
    with pytest.raises(OSError):
        FailureEmail(to="a@example.com")(context())


def test_without_the_smtp_extra_the_next_step_is_told(monkeypatch):
    monkeypatch.delitem(sys.modules, "airflow_lockprovider.notifications.failure_email")
    monkeypatch.setitem(sys.modules, "airflow.providers.smtp.notifications.smtp", None)

    with pytest.raises(Exception, match=r"pip install 'airflow-lockprovider\[smtp\]'"):
        airflow_lockprovider.notifications.FailureEmail  # noqa: B018
    assert airflow_lockprovider.notifications.EventBridgeNotifier()
