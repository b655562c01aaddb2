"""Alerts to Amazon EventBridge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_lockprovider.compat import AirflowException
from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.notifications.alert import Alert, message_in, read_failure
from airflow_lockprovider.notifications.event_entry import event_entry
from airflow_lockprovider.notifications.text import without_secrets

if TYPE_CHECKING:
    from airflow_lockprovider.compat import Context

_PAUSES = (0.5, 1.0)
"""Seconds before the second and the third try. The process of a failed task has about 20 s for all its alerts."""
_WORTH_A_RETRY = ("InternalFailure", "InternalException", "ServiceUnavailable", "ThrottlingException")


class EventBridgeNotifier(Alert):
    """Puts one event with the facts of the failure on an event bus.

    For ``on_failure_callback`` (or ``on_retry_callback``) of tasks and DAGs::

        DAG(..., default_args={"on_failure_callback": EventBridgeNotifier(event_bus="data-alerts")})

    The event's detail says which task of which run failed and why, which lock and token it held, and where the log
    is. Raises AirflowException when EventBridge does not take the event; Airflow logs that, and the task's state
    stays as it is.

    :param event_bus: name or ARN of the bus
    :param source: the event's source, to match rules on; not ``aws.…``, which AWS keeps for itself
    :param detail_type: the event's detail-type
    :param extra: more facts, under ``detail.extra``; templated, as are all texts here
    :param aws_conn_id: Airflow connection to AWS
    :param region_name: region of the bus; default: the connection's
    :param verify: certificate check, as in every hook of the amazon provider
    :param botocore_config: replaces our short timeouts
    """

    template_fields = ("event_bus", "source", "detail_type", "extra", "aws_conn_id", "region_name")

    def __init__(
        self,
        event_bus: str = "default",
        source: str = "airflow.lockprovider",
        detail_type: str = "Airflow task failed",
        *,
        extra: Mapping[str, Any] | None = None,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: Mapping[str, Any] | None = None,
        context: Context | None = None,
    ) -> None:
        super().__init__(context)
        for name, value in (("event_bus", event_bus), ("source", source), ("detail_type", detail_type)):
            if not value:
                raise ConfigurationError(f"{name}={value!r} of EventBridgeNotifier must not be empty")
        if source.startswith("aws."):
            raise ConfigurationError(
                f"source={source!r} of EventBridgeNotifier: AWS keeps aws.… for itself, use 'airflow.lockprovider'"
            )
        self.event_bus = event_bus
        self.source = source
        self.detail_type = detail_type
        self.extra = extra
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.verify = verify
        self.botocore_config = botocore_config

    def notify(self, context: Context) -> None:
        """Send the event; again, if EventBridge could not take it for the moment."""
        message = message_in(context)
        detail: Mapping[str, Any] = message.detail if message else without_secrets(read_failure(context)).as_detail()
        title = detail["title"]
        entry = event_entry(
            detail,
            event_bus=self.event_bus,
            source=self.source,
            detail_type=message.event_type(self.detail_type) if message else self.detail_type,
            extra=without_secrets(self.extra),
        )
        client = self._client()
        for pause in (*_PAUSES, None):
            answer = client.put_events(Entries=[entry])
            if not answer.get("FailedEntryCount"):
                self.log.info("alert %r is event %s", title, answer["Entries"][0].get("EventId"))
                return
            code = answer["Entries"][0].get("ErrorCode")
            told = f"{code}: {answer['Entries'][0].get('ErrorMessage')}"
            if pause is None or code not in _WORTH_A_RETRY:
                raise AirflowException(f"event bus {self.event_bus!r} did not take the alert {title!r}: {told}")
            self.log.warning("event bus %r did not take the alert, next try in %g s: %s", self.event_bus, pause, told)
            time.sleep(pause)

    async def async_notify(self, context: Context) -> None:
        """The same in a thread: boto3 has no asynchronous client."""
        await asyncio.to_thread(self.notify, context)

    def _client(self) -> Any:
        from airflow.providers.amazon.aws.hooks.eventbridge import EventBridgeHook
        from botocore.config import Config

        short: Mapping[str, Any] = {
            "connect_timeout": 3,
            "read_timeout": 5,
            "retries": {"mode": "standard", "total_max_attempts": 2},
        }
        return EventBridgeHook(
            aws_conn_id=self.aws_conn_id,
            region_name=self.region_name,
            verify=self.verify,
            config=Config(**(self.botocore_config or short)),
        ).conn
