"""What is said to people: one line on stderr, without secrets."""

from __future__ import annotations

import logging
import re
import sys
from urllib.parse import unquote, urlsplit

PROGRAM = "lockprovider"
_PASSWORD = re.compile(r"password\s*=\s*('(?:[^'\\]|\\.)*'|\S+)", re.IGNORECASE)
_USER_AND_PASSWORD = re.compile(r"/[^/:@]*:.*@")


class Voice:
    """Prints lines. Nothing that is secret in the DSN comes through: drivers repeat a DSN that they cannot read."""

    def __init__(self, dsn: str = "", *, quiet: bool = False) -> None:
        self._secrets = secrets_of(dsn)
        self._quiet = quiet

    def say(self, text: str) -> None:
        """One line about what went wrong, or has to be known."""
        print(f"{PROGRAM}: {self.clean(text)}", file=sys.stderr, flush=True)

    def mention(self, text: str) -> None:
        """One line that `--quiet` leaves out."""
        if not self._quiet:
            self.say(text)

    def clean(self, text: str) -> str:
        """The text in one line, without secrets, and with our own commands in its advice."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return " ".join(text.replace("airflow locks ", f"{PROGRAM} ").split())

    def take_over_logging(self) -> None:
        """Let warnings of the lease engine (a renewal that fails) come out the same way."""
        handler = logging.StreamHandler()
        handler.setFormatter(_Clean(self))
        logging.basicConfig(level=logging.WARNING, handlers=[handler])


class _Clean(logging.Formatter):
    def __init__(self, voice: Voice) -> None:
        super().__init__()
        self._voice = voice

    def format(self, record: logging.LogRecord) -> str:
        return f"{PROGRAM}: {self._voice.clean(record.getMessage())}"


def secrets_of(dsn: str) -> list[str]:
    """What of a DSN must not be printed, the longest first: passwords, and every word that may have one inside."""
    found = set()
    for match in _PASSWORD.findall(dsn):
        value = match.strip("'")
        found |= {value, value.split("&")[0], unquote(value.split("&")[0])}
    for word in dsn.split():
        if _USER_AND_PASSWORD.search(word):
            found.add(word)
            try:
                password = urlsplit(word).password
            except ValueError:
                password = None
            if password:
                found |= {password, unquote(password)}
    return sorted(found - {""}, key=len, reverse=True)
