"""A TCP proxy in front of the server that is slow, loses answers, or stops a client in the middle of its question."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

_NEVER = 1 << 60


class Proxy:
    """Relays to the server of a DSN. Its faults are switched on and off from the test, and hit all its connections."""

    def __init__(self, dsn: str) -> None:
        parts = urlsplit(dsn)
        self._server = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        user = parts.netloc.rpartition("@")[0]
        here = f"{user}@127.0.0.1:{self._listener.getsockname()[1]}"
        self.dsn = urlunsplit(parts._replace(netloc=here, query="sslmode=disable&gssencmode=disable"))
        self.delay = 0.0
        """Seconds that every answer is late."""
        self.asked = 0
        """Bytes that clients have sent since this was last set to 0."""
        self._lock = threading.Condition()
        self._drop = 0
        self._room = _NEVER
        self._answers = True
        threading.Thread(target=self._accept, daemon=True).start()

    def drop_answer(self) -> None:
        """Let the next answer get lost, and its connection with it. The server has done what it was asked for."""
        with self._lock:
            self._drop = 1

    def dropped(self) -> bool:
        """Whether the answer that was to get lost is lost. In any case none gets lost from now on."""
        with self._lock:
            waiting, self._drop = self._drop, 0
        return not waiting

    def stop_after(self, size: int) -> None:
        """Let the client stop after its next ``size`` bytes: what it sends later stays with us."""
        with self._lock:
            self._room, self.asked = size, 0

    def hold_answers(self) -> None:
        """Let the client be asleep when the answer comes: nothing reaches it."""
        with self._lock:
            self._answers = False

    def go_on(self) -> None:
        """End both."""
        with self._lock:
            self._room, self._answers = _NEVER, True
            self._lock.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.go_on()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
            except OSError:
                if self._listener.fileno() < 0:
                    return
                client.close()  # the server is not there
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._questions, args=(client, server), daemon=True).start()
            threading.Thread(target=self._answered, args=(client, server), daemon=True).start()

    def _questions(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                while data:
                    with self._lock:
                        while not self._room:
                            self._lock.wait()
                        part, data = data[: self._room], data[self._room :]
                        if self._room != _NEVER:
                            self._room -= len(part)
                        self.asked += len(part)
                    server.sendall(part)
        _close(client, server)

    def _answered(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if self.delay:
                    time.sleep(self.delay)
                with self._lock:
                    while not self._answers:
                        self._lock.wait()
                    drop, self._drop = self._drop, 0
                if drop:
                    break
                client.sendall(data)
        _close(client, server)


def _close(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
