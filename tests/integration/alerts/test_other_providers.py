"""Channels of other providers, as they are: Amazon's notifiers over a simulated AWS, a webhook over HTTP."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from email import message_from_string, policy
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.amazon.aws.notifications.ses import SesNotifier
from airflow.providers.amazon.aws.notifications.sns import SnsNotifier

from airflow_lockprovider import LeaseHook
from airflow_lockprovider.demo.aws import AwsSimulator
from airflow_lockprovider.notifications import AlertNotifier
from tests.integration.alerts.conftest import REGION, connection_to


@pytest.fixture
def region(aws: AwsSimulator, monkeypatch: pytest.MonkeyPatch) -> AwsSimulator:
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", connection_to(aws))
    return aws


class Topic:
    """A topic whose messages go into a queue, as its subscriber would get them."""

    def __init__(self, aws: AwsSimulator) -> None:
        self._sqs = aws.client("sqs", REGION)
        self._queue = self._sqs.create_queue(QueueName="on-call")["QueueUrl"]
        queue = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"]
        sns = aws.client("sns", REGION)
        self.arn = sns.create_topic(Name="on-call")["TopicArn"]
        sns.subscribe(TopicArn=self.arn, Protocol="sqs", Endpoint=queue["QueueArn"])

    def received(self) -> list[dict[str, Any]]:
        messages = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(message["Body"]) for message in messages]


class Webhook:
    """An address that takes messages as a chat does: JSON with a ``text``."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/services/hook"
        self.status = 200
        self.received: list[dict[str, Any]] = []


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"]))
            hook.received.append(json.loads(text))
            self.send_response(hook.status)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *about: object) -> None:
            """Keeps quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        hook = Webhook(server.server_port)
        thread = threading.Thread(target=server.serve_forever, name="webhook")
        thread.start()
        yield hook
        server.shutdown()
        thread.join()


def post_to(url: str) -> Any:
    def post(context: dict[str, Any]) -> None:
        alert = context["alert"]
        message = {"text": f"*{alert.subject}*\n{alert.text}"}
        data, kind = json.dumps(message).encode(), {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(url, data, kind), timeout=5):
            pass

    return post


def context(state: str = "failed", error: object = None) -> dict[str, Any]:
    known = {"dag_id": "nightly", "run_id": f"run that {state}", "task_id": "load", "map_index": -1, "try_number": 1}
    return {"ti": SimpleNamespace(**known, max_tries=0, state=state, id=f"ti {state}"), "exception": error}


def test_a_topic_and_a_mail_of_amazons_notifiers_say_what_the_alert_says_and_that_it_is_over(
    locks: LeaseHook, region: AwsSimulator
):
    from moto.core.models import DEFAULT_ACCOUNT_ID
    from moto.ses.models import ses_backends

    topic = Topic(region)
    region.client("ses", REGION).verify_email_identity(EmailAddress="airflow@example.com")
    alerts = AlertNotifier(
        channels=[
            SnsNotifier(target_arn=topic.arn, subject="{{ alert.subject }}", message="{{ alert.text }}"),
            SesNotifier(
                mail_from="airflow@example.com",
                to="team@example.com",
                subject="{{ alert.subject }}",
                html_content="{{ alert.html }}",
            ),
        ]
    )

    outcomes = [
        alerts.tell(context(error=ValueError("no such file: {{ ti.nothing }} <a> & more"))),
        alerts.tell(context("success")),
    ]

    assert [[each.error for each in outcome.deliveries] for outcome in outcomes] == [[None, None]] * 2
    subjects = ["[Airflow] nightly.load failed", "[Airflow] RECOVERED: nightly.load works again"]
    failed, recovered = sorted(topic.received(), key=lambda message: message["Timestamp"])
    assert [failed["Subject"], recovered["Subject"]] == subjects
    assert [failed["Message"], recovered["Message"]] == [str(outcome.message.text) for outcome in outcomes]
    assert "no such file: {{ ti.nothing }} <a> & more" in failed["Message"], "an error is no template"
    sent = ses_backends[DEFAULT_ACCOUNT_ID][REGION].sent_messages
    mails = [message_from_string(mail.raw_data, policy=policy.default) for mail in sent]
    assert [mail["Subject"] for mail in mails] == subjects
    assert {mail["To"] for mail in mails} == {"team@example.com"}
    html = mails[0].get_body(("html",)).get_content()
    assert "no such file: {{ ti.nothing }} &lt;a&gt; &amp; more" in html


def test_a_topic_that_is_gone_holds_up_neither_the_mail_nor_the_webhook(
    locks: LeaseHook, region: AwsSimulator, webhook: Webhook
):
    gone = f"arn:aws:sns:{REGION}:123456789012:gone"
    alerts = AlertNotifier(
        channels=[SnsNotifier(target_arn=gone, message="{{ alert.text }}"), post_to(webhook.url)],
    )

    outcome = alerts.tell(context(error=ValueError("no such file")))

    (topic, post) = outcome.deliveries
    assert "NotFound" in str(topic.error)
    assert post.error is None
    assert outcome.sent
    (message,) = webhook.received
    assert message["text"].startswith("*[Airflow] nightly.load failed*\n")
    assert "no such file" in message["text"]


def test_a_webhook_that_refuses_is_a_channel_that_failed(locks: LeaseHook, webhook: Webhook):
    webhook.status = 500
    outcome = AlertNotifier(channels=[post_to(webhook.url)]).tell(context())
    assert not outcome.sent
    assert "HTTP Error 500" in str(outcome.deliveries[0].error)
