"""Alerts by the listener in a real Airflow: nobody wrote a callback, and people are told all the same."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_lockprovider.demo.mail import MailSink

from .conftest import Live

pytestmark = [pytest.mark.live, pytest.mark.deep]


@pytest.fixture(scope="module")
def mails(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailSink]:
    with MailSink(tmp_path_factory.mktemp("mail")) as sink:
        yield sink


@pytest.fixture(scope="module")
def live_settings(mails: MailSink, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    file = tmp_path_factory.mktemp("alerts") / "alerts.yaml"
    file.write_text(
        "channels:\n- notifier: airflow_lockprovider.notifications.FailureEmail\n  to: oncall@example.com\n"
    )
    extra = {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.com"}
    smtp = {"conn_type": "smtp", "host": "127.0.0.1", "port": mails.port, "extra": extra}
    return {
        "AIRFLOW_CONN_SMTP_DEFAULT": json.dumps(smtp),
        "AIRFLOW__LOCKPROVIDER__ALERTS": str(file),
        "AIRFLOW__LOCKPROVIDER__ALERT_EVERY_FAILURE": "True",
    }


@pytest.fixture(scope="module")
def airflow(live: Live):
    live.airflow.wait_until_healthy(["alert_killed", "alert_forgotten", "alert_by_callback", "alert_deadline"])
    return live.airflow


def subjects(mails: MailSink, about: str) -> list[str]:
    return [mail["Subject"] for mail in mails.messages() if about in mail["Subject"]]


def body(mails: MailSink, subject: str) -> str:
    (mail,) = [mail for mail in mails.messages() if mail["Subject"] == subject]
    return str(mail.get_body(("html",)).get_content())  # type: ignore[union-attr]


def until(live: Live, condition, timeout=60.0):
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        live.supervisor.wait(0.2)
    return found


def test_task_whose_process_was_killed_is_told_though_airflow_calls_no_hook_for_it(live, airflow, mails):
    run = ("alert_killed", airflow.client.trigger("alert_killed"))
    file = Path(airflow.env["AIRFLOW__CORE__DAGS_FOLDER"]) / "alert_killed.pid"
    until(live, lambda: file.exists() and file.read_text())
    os.kill(int(file.read_text()), signal.SIGKILL)

    assert airflow.wait_for_runs([run], timeout=90)[run] == "failed"
    assert until(live, lambda: subjects(mails, "alert_killed")) == ["[Airflow] alert_killed.work failed"]
    text = body(mails, "[Airflow] alert_killed.work failed")
    assert "ended without a word" in text


def test_failure_is_told_from_the_worker_and_the_next_success_is_a_recovery(live, airflow, mails):
    run = ("alert_forgotten", airflow.client.trigger("alert_forgotten"))
    assert airflow.wait_for_runs([run], timeout=90)[run] == "failed"
    assert subjects(mails, "alert_forgotten") == ["[Airflow] alert_forgotten.work_or_fail failed"]
    assert "no such file: orders.csv" in body(mails, "[Airflow] alert_forgotten.work_or_fail failed")

    run = ("alert_forgotten", airflow.client.trigger("alert_forgotten", conf={"works": True}))
    assert airflow.wait_for_runs([run], timeout=90)[run] == "success"
    assert subjects(mails, "alert_forgotten") == [
        "[Airflow] alert_forgotten.work_or_fail failed",
        "[Airflow] RECOVERED: alert_forgotten.work_or_fail works again",
    ]


def test_callback_and_listener_and_the_end_of_the_run_tell_one_failure_once(live, airflow, mails):
    run = ("alert_by_callback", airflow.client.trigger("alert_by_callback"))
    assert airflow.wait_for_runs([run], timeout=90)[run] == "failed"
    live.supervisor.wait(3)
    assert subjects(mails, "alert_by_callback") == ["[Airflow] alert_by_callback.fail failed"]


def test_missed_deadline_is_told_while_the_run_still_works(live, airflow, mails):
    run = ("alert_deadline", airflow.client.trigger("alert_deadline"))
    (subject,) = until(live, lambda: subjects(mails, "alert_deadline"))
    assert subject == "[Airflow] DAG alert_deadline failed: deadline missed"
    assert airflow.wait_for_runs([run], timeout=90)[run] == "success"
