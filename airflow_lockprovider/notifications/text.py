"""Text that may leave the house: no known secrets, no more than fits."""

from __future__ import annotations

import re

from airflow_lockprovider.compat import redact

_PASSWORD_IN_URL = re.compile(r"(\w://[^\s:/@]*):[^\s/@]+@")


def presentable(value: object, *, limit: int = 4000) -> str:
    """``value`` as text: secrets that Airflow knows and passwords in URLs masked, shortened in its middle."""
    try:
        raw = str(value)
    except Exception as error:  # somebody else's __str__
        raw = f"<{type(value).__name__} that cannot be printed: {type(error).__name__}>"
    # Masked before it is cut, or half a secret would not be recognised. Lone surrogates are no UTF-8.
    text = _PASSWORD_IN_URL.sub(r"\1:***@", str(redact(raw))).encode(errors="replace").decode()
    return shortened(text, limit)


def shortened(text: str, limit: int) -> str:
    """At most about ``limit`` characters: begin and end stay, for an error's point is in one of them."""
    if len(text) <= limit:
        return text
    left_out = len(text) - limit
    return f"{text[: limit * 2 // 3]} … [{left_out} characters left out] … {text[-(limit // 3) :]}"
