"""Alerts by the listener in a real Airflow: nobody wrote a callback, and people are told all the same."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_lockprovider.demo.alert_channel import create_alert_channel, received
from airflow_lockprovider.demo.aws import AwsSimulator
from airflow_lockprovider.demo.mail import MailSink

from .conftest import Live

pytestmark = [pytest.mark.live, pytest.mark.deep]


@pytest.fixture(scope="module")
def mails(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailSink]:
    with MailSink(tmp_path_factory.mktemp("mail")) as sink:
        yield sink


REGION = "eu-central-1"
SILENT = 20
"""Seconds without a heartbeat after which the scheduler gives a task up; Airflow's default is 300."""


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsSimulator]:
    with AwsSimulator() as simulator:
        create_alert_channel(simulator.client("events", REGION), simulator.client("sqs", REGION))
        yield simulator


@pytest.fixture(scope="module")
def live_settings(mails: MailSink, aws: AwsSimulator, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    file = tmp_path_factory.mktemp("alerts") / "alerts.yaml"
    file.write_text(
        "channels:\n- notifier: airflow_lockprovider.notifications.FailureEmail\n  to: oncall@example.com\n"
    )
    extra = {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.com"}
    smtp = {"conn_type": "smtp", "host": "127.0.0.1", "port": mails.port, "extra": extra}
    simulated = {"conn_type": "aws", "login": "simulated", "password": "simulated"}
    place = {"endpoint_url": aws.endpoint_url, "region_name": REGION}
    return {
        "AIRFLOW_CONN_SMTP_DEFAULT": json.dumps(smtp),
        "AIRFLOW_CONN_AWS_REGION1": json.dumps({**simulated, "extra": place}),
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(SILENT),
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
        "AIRFLOW__LOCKPROVIDER__ALERTS": str(file),
        "AIRFLOW__LOCKPROVIDER__ALERT_EVERY_FAILURE": "True",
    }


@pytest.fixture(scope="module")
def airflow(live: Live):
    mine = ["alert_killed", "alert_lost", "alert_forgotten", "alert_by_callback", "alert_deadline", "watch_often"]
    live.airflow.wait_until_healthy(mine)
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


def test_lost_worker_is_told_once_by_the_scheduler_while_the_run_goes_on(live, airflow, mails):
    dag, folder = "alert_lost", Path(airflow.env["AIRFLOW__CORE__DAGS_FOLDER"])
    run = (dag, airflow.client.trigger(dag))
    pids = until(live, lambda: (folder / "alert_lost.pids").exists() and (folder / "alert_lost.pids").read_text())
    (lease,) = live.locks.leases(dag)
    worker, process = map(int, pids.split())
    assert b"LocalExecutor" in Path(f"/proc/{worker}/cmdline").read_bytes()
    os.kill(worker, signal.SIGKILL)  # first, or it would report how its child has ended
    os.kill(process, signal.SIGKILL)

    subject = f"[Airflow] {dag}.work_on_a_lost_worker failed"
    assert until(live, lambda: subjects(mails, dag), timeout=SILENT + 60) == [subject]
    assert airflow.client.run(*run)["state"] == "running", "it was not the end of the run that told"
    text = body(mails, subject)
    assert "reported that the task instance" in text, "nobody saw how it ended: these are the scheduler's own words"
    assert str(lease.token) in text
    assert lease.owner in text
    assert "expired" in text, "longer without a heartbeat than the lease lives without a renewal"

    (folder / "alert_lost.over").touch()
    assert airflow.wait_for_runs([run], timeout=90)[run] == "failed"
    live.supervisor.wait(3)  # what looks at the run when it has ended knows that people have been told
    assert subjects(mails, dag) == [subject]


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


def test_the_watch_that_the_scheduler_runs_tells_once_of_a_lock_held_too_long_and_once_when_it_is_over(
    live, airflow, aws, mails
):
    def watched() -> int:
        return sum(run["state"] == "success" for run in airflow.client.runs("watch_often"))

    def looked(times: int) -> None:
        seen = watched()
        until(live, lambda: watched() >= seen + times, timeout=120)

    received(aws.client("sqs", REGION))
    with live.locks.hold("held_for_ever", owner="nightly/run/load#1", context={"expected_hold": 0.5}):
        airflow.client.set_paused("watch_often", False)
        looked(4)
        told = subjects(mails, "held_for_ever")
    looked(2)
    airflow.client.set_paused("watch_often", True)

    assert told == ["[Airflow] lock 'held_for_ever': held too long"]
    over = "[Airflow] RECOVERED: lock 'held_for_ever': held too long: no more"
    assert subjects(mails, "held_for_ever") == [*told, over]
    events = [event["detail"] for event in received(aws.client("sqs", REGION)) if "held_for_ever" in str(event)]
    assert [event["alert"]["kind"] for event in events] == ["held too long", "recovered"]
    assert "nightly/run/load#1" in str(events[0])
