"""Wakes a waiting thread when something has changed on its locks. Only a hint: beneath it everybody polls."""

from __future__ import annotations

import logging
import selectors
import socket
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from airflow_lockprovider.lease import driver
from airflow_lockprovider.lease.errors import StoreError, StoreUnavailable

if TYPE_CHECKING:
    from airflow_lockprovider.lease.store import Store

log = logging.getLogger(__name__)


class Listener:
    """LISTEN on the calling thread's own connection, so that what is heard is acted upon in one round trip.

    Used by one thread, but for `wake`. Where LISTEN is refused, or the store has none, it only waits. Behind a pooler
    in transaction mode LISTEN succeeds but nothing is heard: switch it off there (``LeaseSettings(listen=False)``).
    """

    def __init__(self, store: Store, *, enabled: bool = True) -> None:
        self._store = store
        self._enabled = enabled and store.listens
        self._connection: driver.Connection | None = None
        self._heard: list[str] = []
        self._unhear: Callable[[], object] = lambda: None
        self._far, self._near = socket.socketpair()
        self._far.setblocking(False)  # who wakes us must not wait for us: one unread byte is as good as a thousand
        self._near.setblocking(False)

    @property
    def enabled(self) -> bool:
        """False: there are no notifications, `wait` is a mere pause."""
        return self._enabled

    def start(self) -> None:
        """Listen from now on. Again after the connection was replaced. Raises nothing: polling goes on without it."""
        if not self._enabled or (self._connection is not None and self._connection is self._store.current):
            return
        try:
            self._store.call("listen")
        except StoreError as error:
            log.info("no notifications from the database with the locks, polling only: %s", error)
            self._enabled, self._connection = isinstance(error, StoreUnavailable), None
            return
        self.hear()

    @property
    def listens(self) -> bool:
        """Whether the connection of the calling thread is told of changes now."""
        return self._living() is not None

    def hear(self) -> None:
        """A verb has just switched listening on, on the calling thread's connection: collect what is told."""
        if not self._enabled or self._store.current is None:
            return
        self._connection = self._store.current
        self._unhear()
        self._unhear = driver.hear(self._connection, self._heard)

    def unheard(self) -> None:
        """A verb has switched listening off."""
        self._unhear()
        self._unhear = lambda: None
        self._connection = None

    def wait(
        self, seconds: float, names: Collection[str] | None = None, ticket: int | Collection[int] | None = None
    ) -> bool:
        """Wait until it may be our turn, or `wake` was called. False: the time is over.

        ``names``: the locks that we wait for (None: any). ``ticket``: our place in line, or our places; None: whoever's
        turn it is.
        """
        tickets = frozenset([ticket]) if isinstance(ticket, int) else ticket
        until = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._near, selectors.EVENT_READ)
            if (connection := self._living()) is not None:
                selector.register(connection, selectors.EVENT_READ)
            while True:
                if connection is not None:
                    driver.collect(connection, self._heard)
                news = any(_concerns(payload, names, tickets) for payload in self._heard)
                self._heard.clear()
                left = until - time.monotonic()
                if news or left <= 0:
                    return news
                if connection is not None and driver.is_broken(connection):
                    return True  # the next verb opens a new one
                for key, _ in selector.select(left):
                    if key.fileobj is self._near:
                        self._near.recv(1024)
                        return True

    def wake(self) -> None:
        """End the wait, from another thread."""
        try:
            self._far.send(b"!")
        except OSError:
            log.debug("the listener has ended", exc_info=True)

    def close(self) -> None:
        """Stop listening: an idle connection must not pile up what nobody reads."""
        try:
            if self._living() is not None:
                self._store.call("unlisten")
        except StoreError as error:
            log.debug("unlisten failed: %s", error)
            self._store.close()
        finally:
            self._unhear()
            self._connection = None
            self._far.close()
            self._near.close()

    def _living(self) -> driver.Connection | None:
        connection = self._connection
        if connection is None or connection is not self._store.current or driver.is_broken(connection):
            return None
        return connection


def _concerns(payload: str, names: Collection[str] | None, tickets: Collection[int] | None) -> bool:
    """Payloads are the name of a lock, a line feed, and the tickets whose turn it may be, with commas between."""
    name, _, turn = payload.rpartition("\n")
    return (names is None or name in names) and (
        tickets is None or any(int(number) in tickets for number in turn.split(",") if number)
    )
