"""Prints .env.example with a random secret behind each name that has none: ``python3 deploy/make_env.py > .env``."""

from __future__ import annotations

import base64
import re
import secrets
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parent.parent / ".env.example"


def environment() -> str:
    """The text of a .env file: letters and digits, for passwords stand in addresses; Airflow says how its key looks."""
    return re.sub(r"^(\w+)=$", _with_secret, EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE)


def _with_secret(line: re.Match[str]) -> str:
    key = (
        base64.urlsafe_b64encode(secrets.token_bytes(32)).decode() if line[1] == "FERNET_KEY" else secrets.token_hex(32)
    )
    return f"{line[1]}={key}"


if __name__ == "__main__":
    print(environment(), end="")
