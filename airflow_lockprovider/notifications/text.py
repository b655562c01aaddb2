"""Text that may leave the house: no secrets, no more than fits."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from airflow_lockprovider.compat import redact

Value = TypeVar("Value")

_NAMES = r"password|passwd|pwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|signature|credential"
_SECRET_NAME = re.compile(_NAMES, re.IGNORECASE)
# Each begins with a word of its own: one that may begin anywhere takes quadratic time on a long text.
_PATTERNS = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), "***"),
    (re.compile(r"(\w://[^\s:/@]*):[^\s/@]+@"), r"\1:***@"),
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE), r"\1 ***"),
    # name=value, name: value, "name": "value". A bare number is no secret: fencing tokens are numbers.
    (
        re.compile(
            rf"""((?:{_NAMES})[\w.-]{{0,20}}["']?\s{{0,5}}[:=]\s{{0,5}}["']?)"""
            r"""(?!\d+\b|null\b|none\b|true\b|false\b|\*\*\*)"""
            r"""([^\s"',;<>()\[\]{}]{3,})""",
            re.IGNORECASE,
        ),
        r"\1***",
    ),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), "***"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), "***"),
    (re.compile(r"\b(?:xox[abeoprs]-[\w-]{8,}|gh[opsu]_\w{20,})"), "***"),
)


def presentable(value: object, *, limit: int = 4000) -> str:
    """``value`` as text: secrets that Airflow knows, and what looks like one, masked; shortened in its middle."""
    try:
        raw = str(value)
    except Exception as error:  # somebody else's __str__
        raw = f"<{type(value).__name__} that cannot be printed: {type(error).__name__}>"
    # Masked before it is cut, or half a secret would not be recognised.
    return shortened(masked(raw), limit)


def masked(text: str) -> str:
    """The text without secrets: those that Airflow's masker knows, and what looks like a password, a key, a token."""
    text = str(redact(text))
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text.encode(errors="replace").decode()  # lone surrogates are no UTF-8


def without_secrets(value: Value) -> Value:
    """A copy of plain data (mappings, sequences, dataclasses, text) whose texts are `masked`.

    The value of a key that names a secret goes whole, unless it is a number.
    """
    return _without_secrets(value)  # type: ignore[no-any-return]


def _without_secrets(value: Any) -> Any:
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {
            key: "***" if isinstance(inner, str) and _SECRET_NAME.search(str(key)) else _without_secrets(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)(map(_without_secrets, value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _without_secrets(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    return value


def shortened(text: str, limit: int) -> str:
    """At most about ``limit`` characters: begin and end stay, for an error's point is in one of them."""
    if len(text) <= limit:
        return text
    left_out = len(text) - limit
    return f"{text[: limit * 2 // 3]} … [{left_out} characters left out] … {text[-(limit // 3) :]}"


def one_line(text: str, limit: int) -> str:
    """The text in one line of at most ``limit`` characters, for a subject."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 3]}..."
