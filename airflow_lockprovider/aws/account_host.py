"""S3 Control puts the account into the host's name, which an endpoint that is an address or localhost cannot have."""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import urlsplit


def without_account(client: Any) -> Any:
    """Let a client of S3 Control use an endpoint such as http://127.0.0.1:5555 (a simulation); those of AWS stay as
    they are. Returns the client."""
    client.meta.events.register("before-call.s3-control", _take_it_away, unique_id="lockprovider-without-account")
    return client


def _take_it_away(params: Any, **_: Any) -> None:
    host = urlsplit(params["url"]).hostname or ""
    account, _dot, rest = host.partition(".")
    if account.isdigit() and _is_local(rest):
        params["url"] = params["url"].replace(f"{account}.", "", 1)


def _is_local(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True
