from __future__ import annotations

import smtplib
import socket
from email.message import EmailMessage
from pathlib import Path

import pytest

from airflow_lockprovider.demo.mail import MailSink
from airflow_lockprovider.demo.ports import is_listening

pytestmark = pytest.mark.filterwarnings("error")


def send(sink: MailSink, subject: str, text: str = "text") -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "airflow@example.com", "ann@example.com", subject
    message.set_content(text)
    with smtplib.SMTP("127.0.0.1", sink.port, timeout=10) as client:
        client.send_message(message)


def test_mails_are_kept_in_order_and_can_be_read(tmp_path: Path) -> None:
    with MailSink(tmp_path / "mail box") as sink:
        send(sink, "first: ä", "Zeile ü\n")
        send(sink, "second")
        first, second = sink.messages()
        assert (first["Subject"], second["Subject"]) == ("first: ä", "second")
        assert first["X-Envelope-To"] == "ann@example.com"
        assert first.get_content() == "Zeile ü\n"
        assert [file.name for file in sink.files()] == ["0001.eml", "0002.eml"]


def test_port_is_closed_after_the_end_and_later_mails_go_on_counting(tmp_path: Path) -> None:
    with MailSink(tmp_path) as sink:
        send(sink, "one")
        port = sink.port
    assert not is_listening(port)
    with MailSink(tmp_path) as sink:
        send(sink, "two")
        assert [message["Subject"] for message in sink.messages()] == ["one", "two"]


def test_client_that_is_still_connected_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    sink = MailSink(tmp_path).start()
    with socket.create_connection(("127.0.0.1", sink.port), timeout=10) as client:
        client.recv(100)
        sink.stop()
        assert not client.recv(100)


def test_taken_port_that_was_asked_for_is_an_error(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            MailSink(tmp_path, port=taken.getsockname()[1]).start()
