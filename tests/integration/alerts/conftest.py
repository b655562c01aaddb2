"""Where alerts arrive in tests: an event bus with a queue, a mail sink; and the warehouse with the locks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_lockprovider import LeaseHook
from airflow_lockprovider.demo.aws import AwsSimulator
from airflow_lockprovider.demo.mail import MailSink

REGION = "eu-central-1"


@pytest.fixture
def locks(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[LeaseHook]:
    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", database)
    hook = LeaseHook()
    hook.init_schema()
    yield hook
    hook.close()


class Bus:
    """An event bus whose events a rule puts into a queue."""

    def __init__(self, aws: AwsSimulator, name: str) -> None:
        self.name = name
        self._sqs = aws.client("sqs", REGION)
        self._queue = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"]
        events = aws.client("events", REGION)
        events.create_event_bus(Name=name)
        pattern = {"source": ["airflow.lockprovider"]}
        events.put_rule(Name="alerts", EventBusName=name, EventPattern=json.dumps(pattern))
        target = {"Id": "queue", "Arn": arn["QueueArn"]}
        assert events.put_targets(Rule="alerts", EventBusName=name, Targets=[target])["FailedEntryCount"] == 0

    def received(self) -> list[dict[str, Any]]:
        messages = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(message["Body"]) for message in messages]


def connection_to(aws: AwsSimulator) -> str:
    """An Airflow connection: a value for ``AIRFLOW_CONN_…``."""
    extra = {"endpoint_url": aws.endpoint_url, "region_name": REGION}
    return json.dumps({"conn_type": "aws", "login": "simulated", "password": "simulated", "extra": extra})


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bus]:
    with AwsSimulator() as aws:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", connection_to(aws))
        yield Bus(aws, "data-alerts")


@pytest.fixture
def mails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MailSink]:
    with MailSink(tmp_path / "mail") as sink:
        connection = {
            "conn_type": "smtp",
            "host": "127.0.0.1",
            "port": sink.port,
            "extra": {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.com"},
        }
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(connection))
        yield sink
