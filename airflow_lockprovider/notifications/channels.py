"""Sends one message over several channels at once: each for itself, each for a limited time."""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_lockprovider.compat import BaseNotifier, import_string
from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.metrics import count
from airflow_lockprovider.notifications.text import presentable

log = logging.getLogger(__name__)

Channel = Callable[[dict[str, Any]], object]
"""What can be called with a context: any notifier of any provider, or a function."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one channel did."""

    channel: str
    error: str | None
    """None: it took the message."""


def channel_of(given: object) -> Channel:
    """Check one channel: a notifier, a function, or ``{"notifier": "path.of.Class", …its arguments…}``.

    Raises ConfigurationError that names it.
    """
    if isinstance(given, Mapping):
        arguments = dict(given)
        path = arguments.pop("notifier", None)
        if not isinstance(path, str):
            raise ConfigurationError(
                f"channel {presentable(dict(given), limit=200)} has no notifier: name a class, such as "
                "notifier: airflow_lockprovider.notifications.FailureEmail"
            )
        try:
            return channel_of(import_string(path)(**arguments))
        except ConfigurationError:
            raise
        except Exception as error:
            raise ConfigurationError(f"channel {path} cannot be made ({type(error).__name__}): {error}") from error
    if isinstance(given, type) or not callable(given):
        raise ConfigurationError(
            f"channel {given!r} is no notifier: give an object such as FailureEmail(to=...), a function that takes the "
            "context, or a mapping with the key 'notifier'"
        )
    return given


def deliver(channels: Sequence[Channel], context: Mapping[str, Any], *, limit: float) -> list[Delivery]:
    """Call all channels at the same time and wait for ``limit`` seconds at most. Raises nothing.

    What a channel raises is logged and counted. One that takes longer is left behind: its thread may still send.
    """
    errors: dict[int, str | None] = {}
    threads = []
    for number, channel in enumerate(channels):
        thread = threading.Thread(
            target=_call, args=(number, channel, context, errors), name=f"alert-{name_of(channel)}", daemon=True
        )
        threads.append(thread)
        thread.start()
    end = time.monotonic() + limit
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    late = f"no answer within {limit:g} s"
    told = dict(errors)  # a late answer must not change what is said below
    deliveries = [Delivery(name_of(channel), told.get(number, late)) for number, channel in enumerate(channels)]
    for delivery in deliveries:
        if delivery.error is None:
            count("alerts_sent", channel=delivery.channel)
        else:
            count("alerts_failed", channel=delivery.channel)
            log.error("an alert could not be sent by %s: %s", delivery.channel, delivery.error)
    return deliveries


def name_of(channel: object) -> str:
    """A short name, for logs and metrics."""
    return getattr(channel, "__name__", None) or type(channel).__name__


def _call(number: int, channel: Channel, context: Mapping[str, Any], errors: dict[int, str | None]) -> None:
    try:
        if isinstance(channel, BaseNotifier):
            channel = copy.copy(channel)  # rendering writes into it, and one object serves many alerts
            channel.__dict__.pop("hook", None)  # cached, and perhaps made for another rendering
        channel(dict(context))
    except BaseException as error:  # a thread of ours: nobody else would say
        errors[number] = presentable(f"{type(error).__name__}: {error}", limit=500)
    else:
        errors[number] = None
