"""An event always fits, and is sent again only where that helps."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_lockprovider.exceptions import ConfigurationError
from airflow_lockprovider.notifications import EventBridgeNotifier, eventbridge
from airflow_lockprovider.notifications.event_entry import SIZE_LIMIT, event_entry

FRAME = {"event_bus": "default", "source": "airflow.lockprovider", "detail_type": "Airflow task failed"}


def size(entry: dict[str, Any]) -> int:
    return sum(len(entry[name].encode()) for name in ("Source", "DetailType", "Detail"))


def test_small_alert_is_sent_as_it_is():
    entry = event_entry({"title": "größer"}, extra={"at": datetime(2026, 1, 1, tzinfo=UTC)}, **FRAME)

    assert json.loads(entry["Detail"]) == {"title": "größer", "extra": {"at": "2026-01-01 00:00:00+00:00"}}
    assert entry["EventBusName"] == "default"


@pytest.mark.parametrize("letter", ["x", "ä", "\U0001f512", '"'])
def test_large_alert_is_shortened_until_it_fits(letter):
    detail = {"title": "a.b failed", "exception": {"message": letter * SIZE_LIMIT}, "tries": 3}
    entry = event_entry(detail, extra={"query": letter * SIZE_LIMIT}, **FRAME)

    assert SIZE_LIMIT // 16 < size(entry) <= SIZE_LIMIT
    told = json.loads(entry["Detail"])
    assert (told["title"], told["tries"], told["truncated"]) == ("a.b failed", 3, True)
    assert "characters left out" in told["exception"]["message"]
    assert told["extra"]["query"].startswith(letter)


def test_extra_that_cannot_be_shortened_is_left_out_and_the_alert_stays():
    entry = event_entry({"title": "a.b failed"}, extra={"rows": list(range(100_000))}, **FRAME)

    assert json.loads(entry["Detail"]) == {"title": "a.b failed", "truncated": True}


class Client:
    """An EventBridge that gives these answers, one after the other."""

    def __init__(self, *codes: str | None) -> None:
        self.codes = list(codes)
        self.sent: list[dict[str, Any]] = []

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        self.sent += Entries
        code = self.codes.pop(0)
        if code is None:
            return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}
        return {"FailedEntryCount": 1, "Entries": [{"ErrorCode": code, "ErrorMessage": "no"}]}


@pytest.fixture
def send(monkeypatch):
    def go(client: Client, **kwargs: Any) -> list[float]:
        pauses: list[float] = []
        monkeypatch.setattr(eventbridge, "time", SimpleNamespace(sleep=pauses.append))  # other threads sleep, too
        monkeypatch.setattr(EventBridgeNotifier, "_client", lambda self: client)
        EventBridgeNotifier(**kwargs)({"ti": SimpleNamespace(dag_id="a", task_id="b", run_id="r")})
        return pauses

    return go


def test_entry_that_was_not_taken_for_the_moment_is_sent_again(send):
    client = Client("ThrottlingException", "InternalFailure", None)
    assert send(client) == [0.5, 1.0]
    assert client.sent[0] == client.sent[1] == client.sent[2]


def test_it_gives_up_loudly_in_the_end(send):
    client = Client(*["InternalFailure"] * 5)
    with pytest.raises(Exception, match=r"bus 'b1' did not take the alert 'a\.b failed': InternalFailure: no"):
        send(client, event_bus="b1")
    assert len(client.sent) == 3


def test_refusal_is_not_asked_again(send):
    client = Client("NotAuthorizedForSourceException", None)
    with pytest.raises(Exception, match="NotAuthorizedForSourceException"):
        send(client)
    assert len(client.sent) == 1


def test_templates_are_rendered_anew_for_each_alert(monkeypatch):
    client = Client(None, None)
    monkeypatch.setattr(EventBridgeNotifier, "_client", lambda self: client)
    notifier = EventBridgeNotifier(extra={"run": "{{ run_id }}"}, source="{{ run_id }}.alerts")
    for run_id in ("first", "second"):
        context = {"run_id": run_id, "reason": "timed_out"}
        notifier(context)
        assert set(context) == {"run_id", "reason"}

    assert [json.loads(entry["Detail"])["extra"]["run"] for entry in client.sent] == ["first", "second"]
    assert [entry["Source"] for entry in client.sent] == ["first.alerts", "second.alerts"]


def test_it_can_be_awaited_as_deadline_alerts_do(monkeypatch):
    client = Client(None)
    monkeypatch.setattr(EventBridgeNotifier, "_client", lambda self: client)

    async def callback() -> None:
        run = {"dag_id": "nightly", "dag_run_id": "r"}
        await EventBridgeNotifier(event_bus="b1", context={"dag_run": run, "deadline": {}})  # type: ignore[typeddict-item]

    asyncio.run(callback())
    assert json.loads(client.sent[0]["Detail"])["title"] == "DAG nightly failed: deadline missed"


@pytest.mark.parametrize(
    ("kwargs", "text"), [({"source": "aws.glue"}, "aws.glue"), ({"event_bus": ""}, "event_bus=''")]
)
def test_what_eventbridge_would_refuse_is_refused_when_the_dag_is_parsed(kwargs, text):
    with pytest.raises(ConfigurationError, match=text):
        EventBridgeNotifier(**kwargs)


def test_misspelt_argument_is_refused():
    with pytest.raises(TypeError, match="evnt_bus"):
        EventBridgeNotifier(evnt_bus="b1")
