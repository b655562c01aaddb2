"""One alert over several channels, told as often as people want to hear it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_lockprovider.lease.alert_ledger import PAUSES
from airflow_lockprovider.lease.duration import Duration, seconds
from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.metrics import count
from airflow_lockprovider.notifications.alert import Alert, read_lock
from airflow_lockprovider.notifications.alert_book import AlertBook
from airflow_lockprovider.notifications.channels import Channel, Delivery, channel_of, deliver
from airflow_lockprovider.notifications.failure import failure_of, has_worked
from airflow_lockprovider.notifications.message import Message
from airflow_lockprovider.notifications.notice import Notice, bounded, keys_of, notice_of
from airflow_lockprovider.notifications.text import masked, one_line

if TYPE_CHECKING:
    from airflow_lockprovider.compat import Context

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one notice."""

    message: Message | None
    """What was sent; None: people know enough already."""
    deliveries: tuple[Delivery, ...] = ()

    @property
    def sent(self) -> bool:
        """Whether at least one channel took it."""
        return any(delivery.error is None for delivery in self.deliveries)


class AlertNotifier(Alert):
    """Tells people over several channels: the first failure at once, then at growing intervals with the number of
    failures in between, and once when it works again.

    For ``on_failure_callback``, ``on_retry_callback`` and ``on_success_callback`` (which tells of recoveries) of tasks
    and DAGs::

        alerts = AlertNotifier(
            channels=[
                FailureEmail(to="data-team@example.com"),
                SnsNotifier(target_arn="arn:…", subject="{{ alert.subject }}", message="{{ alert.text }}"),
            ]
        )
        DAG(..., default_args={"on_failure_callback": alerts, "on_success_callback": alerts})

    What people have been told is kept in the warehouse, for all processes. If it is down the alert goes out all the
    same. A channel that fails or hangs holds up no other; it is logged and counted. Nothing here raises while an alert
    is sent.

    :param channels: notifiers of any provider, functions that take the context, or mappings
        ``{"notifier": "path.of.Class", …}``. Their templates find the message as ``alert``: ``alert.subject``,
        ``alert.text``, ``alert.html``, ``alert.json``. None: the channels of ``[lockprovider] alerts``
    :param name: notifiers with the same name know what the others have told; those with different ones do not
    :param repeat: times between two messages of the same trouble: after the first, the second …; the last one for all
        further ones. Ten times as many failures are told at once.
    :param channel_timeout: how long to wait for the channels, which all work at the same time. Airflow ends the
        process of a failed task after 20 s
    :param lease_conn_id: connection of the warehouse; default: that of the locks
    """

    template_fields = ()

    def __init__(
        self,
        channels: Sequence[Channel | Mapping[str, Any]] | None = None,
        *,
        name: str = "alerts",
        repeat: Sequence[Duration | str] = PAUSES,
        channel_timeout: Duration | str = 8,
        lease_conn_id: str | None = None,
        context: Context | None = None,
    ) -> None:
        super().__init__(context)
        if channels is not None and (not isinstance(channels, list | tuple) or not channels):
            raise ConfigurationError(
                f"channels={channels!r} of AlertNotifier must be a list with at least one channel; "
                "leave it out to use those of [lockprovider] alerts"
            )
        if not name or ":" in name or len(name) > 50:
            raise ConfigurationError(
                f"name={name!r} of AlertNotifier must have 1 to 50 characters, no colon among them"
            )
        pauses = [seconds(pause, setting="repeat of AlertNotifier") for pause in repeat]
        if not pauses or min(pauses) <= 0:
            raise ConfigurationError(f"repeat={repeat!r} of AlertNotifier must be a list of times above 0")
        self.channels = None if channels is None else [channel_of(channel) for channel in channels]
        self.name = name
        self.channel_timeout = seconds(channel_timeout, setting="channel_timeout of AlertNotifier")
        self._book = AlertBook(lease_conn_id, name=name, pauses=pauses)

    @classmethod
    def configured(cls) -> AlertNotifier | None:
        """The notifier of the file ``[lockprovider] alerts``; None if there is none.

        Raises ConfigurationError that names file and entry.
        """
        from airflow_lockprovider.notifications.alert_file import read_alert_file

        settings = read_alert_file()
        return None if settings is None else cls(**settings)

    # As a callback

    def notify(self, context: Context) -> None:
        """Tell of the failure in this context; or, if it is that of a success, that it works again."""
        self.tell(context)

    async def async_notify(self, context: Context) -> None:
        """The same, without blocking an event loop."""
        await asyncio.to_thread(self.tell, context)

    def tell(self, context: Mapping[str, Any], *, at: datetime | None = None) -> Outcome:
        """`notify`, and what became of it. ``at``: when it happened; None: now."""
        failure = failure_of(context)
        if has_worked(context):
            title = f"{failure.who} works again"
            return self.recover(*keys_of(failure), title=title, about=notice_of(failure), context=context, at=at)
        return self.send(notice_of(failure), context=context, at=at)

    # For everybody else

    def send(self, notice: Notice, *, context: Mapping[str, Any] | None = None, at: datetime | None = None) -> Outcome:
        """Tell of a trouble, if people do not know enough of it. Call it whenever the trouble is seen."""
        answer = self._book.seen(
            bounded(notice.key),
            masked(one_line(notice.title, 400)),
            part=notice.part,
            occurrence=notice.occurrence,
            at=at,
        )
        tell, episode = answer or (True, None)
        if not tell:
            count("alerts_throttled")
            log.info("no further message about %r: people know, %d times so far", notice.title, episode.occurrences)  # type: ignore[union-attr]
            return Outcome(None)
        if notice.failure is not None and context is not None:
            # Only now: a thousand failures in a minute must not ask for a thousand histories.
            failure = replace(notice.failure, lock=read_lock(context))
            notice = replace(notice, failure=failure, detail=failure.as_detail())
        return self._send(Message.of(notice, episode), context, at)

    def recover(
        self,
        *keys: str,
        title: str | None = None,
        part: str | None = None,
        about: Notice | None = None,
        context: Mapping[str, Any] | None = None,
        at: datetime | None = None,
    ) -> Outcome:
        """Tell that these troubles are over, if people know of one of them. Cheap if they do not.

        ``part``: only this part works again; None: all of it.
        """
        if about is not None:
            part = about.part
        episodes = self._book.over([bounded(key) for key in keys], part=part, at=at) or []
        if not episodes:
            return Outcome(None)
        # Several troubles of one thing (a failed try, and then the last one) are over with one message.
        main = max(episodes, key=lambda episode: episode.occurrences)
        key = self._book.own_key(main.key)
        notice = replace(about or Notice(key, ""), key=key, title=title or f"{main.title}: over")
        outcome = self._send(Message.of(notice, main, recovered=True), context, at)
        if not outcome.sent:
            for episode in episodes:
                self._book.untold(episode, recovered=True, at=at)
        return outcome

    def send_pending(self, *, at: datetime | None = None) -> int:
        """Tell what has grown since its last message while nobody asked, and whose pause is over. Returns how much.

        For a watch that runs every minute or so.
        """
        episodes = self._book.due(at=at) or []
        for episode in episodes:
            notice = Notice(self._book.own_key(episode.key), episode.title, kind="pending")
            self._send(Message.of(notice, episode), None, at)
        return len(episodes)

    def open_keys(self, prefix: str = "") -> list[str]:
        """Keys of the troubles that are not over; none if the warehouse does not answer."""
        return self._book.open(prefix) or []

    # Inside

    def _send(self, message: Message, context: Mapping[str, Any] | None, at: datetime | None) -> Outcome:
        deliveries: list[Delivery] = []
        try:
            deliveries = deliver(self._channels(), _for_channels(context, message), limit=self.channel_timeout)
        except Exception:
            count("alerts_failed", channel="none")
            log.exception("the alert %r could not be sent", message.subject)
        outcome = Outcome(message, tuple(deliveries))
        if not outcome.sent and message.episode is not None and not message.recovered:
            self._book.untold(message.episode, recovered=False, at=at)
        return outcome

    def _channels(self) -> Sequence[Channel]:
        if self.channels is not None:
            return self.channels
        configured = type(self).configured()
        if configured is None or configured.channels is None:
            raise ConfigurationError("there are no channels: give AlertNotifier some, or set [lockprovider] alerts")
        return configured.channels


def _for_channels(context: Mapping[str, Any] | None, message: Message) -> dict[str, Any]:
    known = dict(context or {})
    if not hasattr(known.get("dag"), "get_template_env"):
        known.pop("dag", None)  # a DAG that cannot render
    return {**known, "alert": message}
