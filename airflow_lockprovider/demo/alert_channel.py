"""Where the alerts of the example DAGs arrive: an EventBridge bus whose events a rule puts into an SQS queue."""

from __future__ import annotations

import json
from typing import Any

ALERTS = "lockprovider-alerts"
"""Name of the bus, the rule and the queue."""
SOURCE = "airflow.lockprovider"


def create_alert_channel(events: Any, sqs: Any) -> None:
    """Make what is missing."""
    if ALERTS not in [bus["Name"] for bus in events.list_event_buses()["EventBuses"]]:
        events.create_event_bus(Name=ALERTS)
    url = sqs.create_queue(QueueName=ALERTS)["QueueUrl"]  # gives the existing one, too
    queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    rule = events.put_rule(
        Name=ALERTS, EventBusName=ALERTS, EventPattern=json.dumps({"source": [SOURCE]}), State="ENABLED"
    )["RuleArn"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(_only_from(rule, queue))})
    events.put_targets(Rule=ALERTS, EventBusName=ALERTS, Targets=[{"Id": "queue", "Arn": queue}])


def received(sqs: Any) -> list[dict[str, Any]]:
    """The events in the queue, oldest first; they are taken out."""
    url = sqs.get_queue_url(QueueName=ALERTS)["QueueUrl"]
    found: list[dict[str, Any]] = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        for message in messages:
            found.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return sorted(found, key=lambda event: str(event.get("time")))


def _only_from(rule: str, queue: str) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": queue,
                "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
            }
        ],
    }
