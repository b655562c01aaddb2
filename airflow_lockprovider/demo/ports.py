"""Free TCP ports on the loopback address."""

from __future__ import annotations

import contextlib
import socket

LOOPBACK = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """`count` different ports that nobody listens on at this moment.

    Somebody else may take one before it is used: whoever binds it has to be ready to ask again.
    """
    with contextlib.ExitStack() as held:  # held together, or the same port could come twice
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [each.getsockname()[1] for each in sockets]


def free_port() -> int:
    return free_ports(1)[0]


def is_listening(port: int) -> bool:
    """Whether somebody accepts connections on that port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0
