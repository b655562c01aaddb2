"""AlertNotifier: over several channels, throttled in the warehouse, free of secrets, whatever breaks on the way."""

from __future__ import annotations

import json
import logging
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from airflow.providers.smtp.notifications.smtp import SmtpNotifier

from airflow_lockprovider import LeaseHook
from airflow_lockprovider.demo.mail import MailSink
from airflow_lockprovider.exceptions import ConfigurationError
from airflow_lockprovider.notifications import AlertNotifier, EventBridgeNotifier, FailureEmail, Notice, alert_book
from airflow_lockprovider.notifications.message import Message

from .conftest import Bus

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def context(number: int = 1, *, state: str = "failed", error: object = None, **ti: Any) -> dict[str, Any]:
    """What a callback is given on a worker, for the run of that number."""
    known = {"dag_id": "nightly", "run_id": f"run {number}", "task_id": "load", "map_index": -1, "try_number": 1}
    instance = SimpleNamespace(**{**known, "max_tries": 0, "state": state, "id": f"ti {number}", **ti})
    return {"ti": instance, "exception": error}


class Channel:
    """Takes what it is called with."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def __call__(self, context: dict[str, Any]) -> None:
        self.messages.append(context["alert"])

    @property
    def subjects(self) -> list[str]:
        return [message.subject for message in self.messages]


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_first_failure_goes_out_at_once_the_next_with_their_number_and_one_recovery(locks: LeaseHook):
    channel = Channel()
    alerts = AlertNotifier(channels=[channel])
    for number in range(43):
        alerts.tell(context(number, error=ValueError("no such file")), at=after(number))
    alerts.tell(context(43, error=ValueError("no such file")), at=after(310))
    alerts.tell(context(44, state="success"), at=after(320))
    alerts.tell(context(45, state="success"), at=after(321))

    assert channel.subjects == [
        "[Airflow] nightly.load failed",
        "[Airflow] nightly.load failed (9 since 12:00)",
        "[Airflow] nightly.load failed (34 since 12:00)",
        "[Airflow] RECOVERED: nightly.load works again",
    ]
    third, recovered = channel.messages[2:]
    assert "34 more since the last message at 2026-11-21 12:00:09 UTC; 44 times since 2026-11-21 12:00:00" in third.text
    assert "no such file" in third.text
    assert recovered.story == "It works again. It had failed 44 times since 2026-11-21 12:00:00 UTC."
    assert recovered.detail["alert"]["kind"] == "recovered"
    assert recovered.detail["state"] == "success"


def test_two_notifiers_of_one_name_know_of_each_other_and_those_of_another_do_not(locks: LeaseHook):
    first, second, third = Channel(), Channel(), Channel()
    for channel, name in ((first, "alerts"), (second, "alerts"), (third, "managers")):
        AlertNotifier(channels=[channel], name=name).tell(context(), at=NOON)
    assert [len(channel.messages) for channel in (first, second, third)] == [1, 0, 1]


def test_last_try_is_told_though_those_before_were(locks: LeaseHook):
    channel = Channel()
    alerts = AlertNotifier(channels=[channel])
    alerts.tell(context(state="up_for_retry", max_tries=1), at=NOON)
    alerts.tell(context(state="failed", max_tries=1, try_number=2), at=after(1))
    alerts.tell(context(2, state="success"), at=after(2))
    assert channel.subjects == [
        "[Airflow] nightly.load failed, will be retried",
        "[Airflow] nightly.load failed",
        "[Airflow] RECOVERED: nightly.load works again",
    ]


def test_every_wrapped_channel_says_the_same(locks: LeaseHook, bus: Bus, mails: MailSink):
    alerts = AlertNotifier(
        channels=[
            FailureEmail(to="team@example.com"),
            EventBridgeNotifier(bus.name, extra={"team": "sales"}),
            SmtpNotifier(to="other@example.com", subject="{{ alert.subject }}", html_content="{{ alert.html }}"),
            {"notifier": "airflow_lockprovider.notifications.FailureEmail", "to": "third@example.com"},
        ]
    )
    outcome = alerts.tell(context(error=ValueError("no such file: <a>")), at=NOON)
    alerts.tell(context(2, state="success"), at=after(5))

    assert outcome.sent
    assert [delivery.error for delivery in outcome.deliveries] == [None] * 4
    subjects = sorted((mail["X-Envelope-To"], mail["Subject"]) for mail in mails.messages())
    failed, recovered = "[Airflow] nightly.load failed", "[Airflow] RECOVERED: nightly.load works again"
    assert subjects == sorted(
        (f"{who}@example.com", subject) for who in ("team", "other", "third") for subject in (failed, recovered)
    )
    bodies = [str(mail.get_body(("html",)).get_content()) for mail in mails.messages()]  # type: ignore[union-attr]
    assert sum("no such file: &lt;a&gt;" in body for body in bodies) == 3
    events = sorted(bus.received(), key=lambda event: event["detail-type"])
    assert [event["detail-type"] for event in events] == ["Airflow alert recovered", "Airflow task failed"]
    assert events[1]["detail"]["extra"] == {"team": "sales"}
    assert events[1]["detail"]["alert"]["occurrences"] == 1
    assert events[0]["detail"]["alert"]["kind"] == "recovered"


def test_channel_that_raises_or_hangs_holds_up_no_other_and_is_logged(
    locks: LeaseHook, caplog: pytest.LogCaptureFixture
):
    let_go = threading.Event()

    def hangs(context: dict[str, Any]) -> None:
        let_go.wait(30)

    def raises(context: dict[str, Any]) -> None:
        raise OSError("no route to host, password=hunter22")

    good = Channel()
    begun = time.monotonic()
    with caplog.at_level(logging.ERROR):
        outcome = AlertNotifier(channels=[hangs, raises, good], channel_timeout=0.5).tell(context(), at=NOON)
    took = time.monotonic() - begun
    let_go.set()

    assert took < 10
    assert outcome.sent
    assert len(good.messages) == 1
    errors = {delivery.channel: delivery.error for delivery in outcome.deliveries}
    assert errors["hangs"] == "no answer within 0.5 s"
    assert errors["raises"] == "OSError: no route to host, password=***"
    assert "an alert could not be sent by hangs" in caplog.text
    assert "hunter22" not in caplog.text


def test_message_that_no_channel_took_is_sent_again_by_a_later_failure(locks: LeaseHook):
    down, taken = [True], []

    def sometimes(context: dict[str, Any]) -> None:
        if down[0]:
            raise OSError("no route to host")
        taken.append(context["alert"])

    alerts = AlertNotifier(channels=[sometimes])
    assert not alerts.tell(context(1), at=NOON).sent
    down[0] = False
    assert alerts.tell(context(2), at=after(30)).message is None
    assert alerts.tell(context(3), at=after(62)).sent
    assert taken[0].occurrences == 3
    assert not taken[0].repeated


def test_alert_goes_out_unthrottled_while_the_warehouse_is_down(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", "postgresql://u:hunter2@127.0.0.1:1/db")
    channel = Channel()
    alerts = AlertNotifier(channels=[channel])
    for number in range(2):
        assert alerts.tell(context(number)).sent
    assert [message.episode for message in channel.messages] == [None, None]
    assert "may be one of many" in channel.messages[0].text
    assert alerts.tell(context(3, state="success")).message is None
    assert alerts.send_pending() == 0
    assert alerts.open_keys() == []


def test_who_cannot_count_in_time_tells_nobody_if_people_know(
    locks: LeaseHook, database: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    channel = Channel()
    alerts = AlertNotifier(channels=[channel])
    alerts.tell(context(1), at=NOON)
    monkeypatch.setattr(alert_book, "PATIENCE", 0.3)
    monkeypatch.setattr(alert_book, "GLANCE", 20.0)
    with psycopg.connect(database) as crowd:
        crowd.execute("select from lockprovider.alert for update")
        assert alerts.tell(context(2), at=after(59)).message is None
        assert alerts.tell(context(3), at=after(60)).sent, "their pause is over: do they know enough? Nobody can say"
    assert [message.episode is None for message in channel.messages] == [False, True]
    assert "no answer within 0.3 s" in caplog.text


def test_no_secret_leaves_the_house_in_subject_body_or_event(locks: LeaseHook, bus: Bus, mails: MailSink):
    secrets = ["hunter22", "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI", "sk-live-4242", "c3VwZXJzZWNyZXQ"]
    words = (
        "cannot log in with postgresql://etl:hunter22@dwh/db, AKIAIOSFODNN7EXAMPLE, "
        "aws_secret_access_key=wJalrXUtnFEMI, {'api_key': 'sk-live-4242'}, Authorization: Bearer c3VwZXJzZWNyZXQ"
    )
    notice = Notice(key="watch/x", title=f"broken: {words}", text=words, detail={"why": words, "password": "hunter22"})
    AlertNotifier(
        channels=[FailureEmail(to="a@example.com"), EventBridgeNotifier(bus.name, extra={"token": "sk-live-4242"})]
    ).send(notice, at=NOON)
    AlertNotifier(channels=[FailureEmail(to="a@example.com")]).tell(context(error=ValueError(words)), at=NOON)
    EventBridgeNotifier(bus.name)(context(2, error=ValueError(words)))

    told = json.dumps(bus.received()) + "".join(mail.as_string() for mail in mails.messages())
    for mail in mails.messages():
        told += str(mail.get_body(("html",)).get_content())  # type: ignore[union-attr]
    assert len(bus.received()) + len(mails.messages()) >= 2
    assert [secret for secret in secrets if secret in told] == []


def test_fencing_token_is_no_secret(locks: LeaseHook):
    channel = Channel()
    notice = Notice(key="a", title="a", text="token=1795272674100 is gone", detail={"token": 1795272674100})
    AlertNotifier(channels=[channel]).send(notice, at=NOON)
    assert "token=1795272674100" in channel.messages[0].text
    assert channel.messages[0].detail["token"] == 1795272674100


def test_huge_texts_are_bounded_everywhere(locks: LeaseHook, bus: Bus):
    channel = Channel()
    alerts = AlertNotifier(channels=[channel, EventBridgeNotifier(bus.name)])
    huge = "x y" * 400_000
    assert alerts.send(Notice(key="a", title=huge, text=huge, detail={"all": [huge] * 3}), at=NOON).sent
    assert alerts.tell(context(error=ValueError(huge)), at=NOON).sent
    for message in channel.messages:
        assert len(message.subject) <= 99
        assert len(message.text) < 9_000
        assert len(message.html) < 20_000
    assert len(bus.received()) == 2


def test_watch_reports_as_often_as_it_looks_and_people_hear_it_as_often_as_they_should(locks: LeaseHook):
    channel = Channel()
    alerts = AlertNotifier(channels=[channel])
    notice = Notice(key="watch/held too long/dwh.sales", title="lock 'dwh.sales' is held too long", text="by ann")
    for minute in range(6):
        alerts.send(notice, at=after(minute * 60))
    assert alerts.open_keys("watch/") == ["watch/held too long/dwh.sales"]
    alerts.recover("watch/held too long/dwh.sales", title="lock 'dwh.sales' is free again", at=after(400))
    alerts.recover("watch/held too long/dwh.sales", title="lock 'dwh.sales' is free again", at=after(460))
    assert channel.subjects == [
        "[Airflow] lock 'dwh.sales' is held too long",
        "[Airflow] lock 'dwh.sales' is held too long (1 since 12:00)",
        "[Airflow] RECOVERED: lock 'dwh.sales' is free again",
    ]
    assert alerts.open_keys() == []


def test_what_came_inside_a_pause_is_told_by_the_next_look_of_the_watch(locks: LeaseHook):
    channel = Channel()
    alerts = AlertNotifier(channels=[channel])
    for number in range(8):
        alerts.tell(context(number), at=after(number))
    assert alerts.send_pending(at=after(59)) == 0
    assert alerts.send_pending(at=after(60)) == 1
    assert channel.messages[-1].unknown == 7
    assert channel.subjects[-1] == "[Airflow] nightly.load failed (7 since 12:00)"


def test_channels_come_from_the_configured_file(
    locks: LeaseHook, mails: MailSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert AlertNotifier.configured() is None
    file = tmp_path / "alerts.yaml"
    file.write_text(
        "channels:\n- notifier: airflow_lockprovider.notifications.FailureEmail\n  to: team@example.com\n"
        "repeat: [10 mins, 1 hour]\n"
    )
    monkeypatch.setenv("AIRFLOW__LOCKPROVIDER__ALERTS", str(file))
    configured = AlertNotifier.configured()
    assert configured is not None
    assert configured.tell(context(), at=NOON).sent
    assert AlertNotifier().tell(context(dag_id="other"), at=NOON).sent
    assert [mail["Subject"] for mail in mails.messages()] == [
        "[Airflow] nightly.load failed",
        "[Airflow] other.load failed",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("channels: []", "must have a list 'channels'"),
        ("channels: [", "no valid YAML"),
        ("channels: [{to: a}]", "has no notifier"),
        ("channels: [{notifier: no.such.Thing}]", "no.such.Thing cannot be made"),
        ("channels: [{notifier: airflow_lockprovider.notifications.FailureEmail, two: a}]", "unexpected keyword"),
        ("channels: [{notifier: a.b}]\nrepaet: [1]", "'repaet' is unknown, known are channels"),
        ("channels: [{notifier: builtins.print}]\nrepeat: [soon]", "cannot be made|is not a duration"),
    ],
)
def test_mistake_in_the_file_is_told_with_its_place(
    text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "alerts.yaml"
    file.write_text(text)
    monkeypatch.setenv("AIRFLOW__LOCKPROVIDER__ALERTS", str(file))
    with pytest.raises(ConfigurationError, match=words):
        AlertNotifier.configured()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"channels": []}, "at least one channel"),
        ({"channels": FailureEmail}, "at least one channel|is no notifier|must be a list"),
        ({"channels": [FailureEmail]}, "is no notifier"),
        ({"channels": [print], "name": "a:b"}, "no colon"),
        ({"channels": [print], "repeat": []}, "list of times"),
        ({"channels": [print], "repeat": [0]}, "above zero"),
        ({"channels": [print], "channel_timeout": "soon"}, "is not a duration"),
    ],
)
def test_bad_argument_is_refused_when_the_dag_is_parsed(arguments: dict[str, Any], words: str):
    with pytest.raises(ConfigurationError, match=words):
        AlertNotifier(**arguments)
