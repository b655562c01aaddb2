"""The server's clock, read from its answers: our own clock decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any


def server_time(response: Mapping[str, Any]) -> datetime:
    """When the server answered (whole seconds). Our clock only for an answer without a Date header."""
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    date = headers.get("date")
    if not date:
        return datetime.now(UTC)
    moment = parsedate_to_datetime(date)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
