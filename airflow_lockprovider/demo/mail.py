"""A mail server that keeps everything and delivers nothing."""

from __future__ import annotations

import email
import email.message
import email.policy
import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from airflow_lockprovider.demo.ports import LOOPBACK, free_port

_PORT_TRIES = 5
_TAKEN = "address already in use"


class MailSink:
    """An SMTP server on 127.0.0.1, in a thread; every mail becomes a file in `folder`, for people and tests."""

    def __init__(self, folder: str | os.PathLike[str], *, port: int = 0) -> None:
        self.folder = Path(folder)
        self._wanted_port = port
        self._port = 0
        self._controller: Any = None
        self._lock = threading.Lock()

    @property
    def port(self) -> int:
        if not self._port:
            raise RuntimeError("the mail sink has no port yet: start() it first")
        return self._port

    def files(self) -> list[Path]:
        """The mails as .eml files, oldest first."""
        return sorted(self.folder.glob("*.eml"))

    def messages(self) -> list[email.message.EmailMessage]:
        """The mails that arrived in `folder`, parsed, oldest first."""
        return [email.message_from_bytes(file.read_bytes(), policy=email.policy.default) for file in self.files()]

    def start(self) -> MailSink:
        from aiosmtpd.controller import Controller

        if self._controller is not None:
            return self
        self.folder.mkdir(parents=True, exist_ok=True)
        for tries_left in reversed(range(1 if self._wanted_port else _PORT_TRIES)):
            port = self._wanted_port or free_port()
            controller = Controller(_Handler(self), hostname=LOOPBACK, port=port)
            try:
                controller.start()
            except OSError as error:
                controller.stop(no_assert=True)
                if _TAKEN not in str(error).lower() or not tries_left:
                    raise
                continue
            self._controller, self._port = controller, port
            break
        return self

    def stop(self) -> None:
        if self._controller is not None:
            self._controller.stop()
            self._controller, self._port = None, 0

    def keep(self, content: bytes) -> Path:
        with self._lock:
            number = max((int(file.stem) for file in self.files() if file.stem.isdigit()), default=0) + 1
            kept = self.folder / f"{number:04d}.eml"
            # Written beside and moved: a reader sees a whole mail or none.
            scratch = kept.with_suffix(".part")
            scratch.write_bytes(content)
            scratch.rename(kept)
            return kept

    def __enter__(self) -> MailSink:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Handler:
    def __init__(self, sink: MailSink) -> None:
        self._sink = sink

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        recipients = ", ".join(envelope.rcpt_tos)
        # Who really gets it is in the envelope only: a blind copy has no header.
        head = f"X-Envelope-From: {envelope.mail_from}\nX-Envelope-To: {recipients}\n"
        self._sink.keep(head.encode() + bytes(envelope.content).replace(b"\r\n", b"\n"))
        return "250 kept"
