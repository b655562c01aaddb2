"""A mail server that keeps everything and delivers nothing."""

from __future__ import annotations

import asyncio
import email
import email.policy
import os
import socket
import threading
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Any

from airflow_lockprovider.demo.ports import LOOPBACK


class MailSink:
    """An SMTP server on 127.0.0.1, in a thread; every mail becomes a file in `folder`, for people and tests."""

    def __init__(self, folder: str | os.PathLike[str], *, port: int = 0) -> None:
        self.folder = Path(folder)
        self._wanted_port = port
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()

    @property
    def port(self) -> int:
        if self._socket is None:
            raise RuntimeError("the mail sink has no port yet: start() it first")
        port: int = self._socket.getsockname()[1]
        return port

    def files(self) -> list[Path]:
        """The mails as .eml files, oldest first."""
        return sorted(self.folder.glob("*.eml"))

    def messages(self) -> list[EmailMessage]:
        """The mails in `folder`, parsed, oldest first."""
        return [
            email.message_from_bytes(file.read_bytes(), _class=EmailMessage, policy=email.policy.default)
            for file in self.files()
        ]

    def start(self) -> MailSink:
        from aiosmtpd.smtp import SMTP  # here, so that a missing extra is told to the caller and not to the thread

        if self._socket is not None:
            return self
        self.folder.mkdir(parents=True, exist_ok=True)
        # Bound here and not by the server: no port is chosen first and taken by somebody else then.
        self._socket = socket.create_server((LOOPBACK, self._wanted_port))
        ready = threading.Event()
        self._thread = threading.Thread(
            target=asyncio.run, args=(self._serve(SMTP, self._socket, ready),), name="mail sink", daemon=True
        )
        self._thread.start()
        ready.wait()
        return self

    def stop(self) -> None:
        if self._socket is None:
            return
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join()
        self._socket.close()
        self._socket = self._thread = self._loop = None

    def __enter__(self) -> MailSink:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def _serve(self, smtp: Any, listening: socket.socket, ready: threading.Event) -> None:
        try:
            self._loop = asyncio.get_running_loop()
            self._stopped = asyncio.Event()
            # A hostname of its own, or it asks the DNS for ours.
            server = await self._loop.create_server(lambda: smtp(self, hostname="mail-sink"), sock=listening)
        finally:
            ready.set()
        await self._stopped.wait()
        server.close()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Called by aiosmtpd for each mail."""
        number = max((int(file.stem) for file in self.files() if file.stem.isdigit()), default=0) + 1
        kept = self.folder / f"{number:04d}.eml"
        # Who really gets it is in the envelope only: a blind copy has no header.
        head = f"X-Envelope-From: {envelope.mail_from}\nX-Envelope-To: {', '.join(envelope.rcpt_tos)}\n"
        scratch = kept.with_suffix(".part")
        scratch.write_bytes(head.encode() + bytes(envelope.content).replace(b"\r\n", b"\n"))
        scratch.rename(kept)  # a reader sees a whole mail or none
        return "250 kept"
