"""Free TCP ports on the loopback address."""

from __future__ import annotations

import contextlib
import errno
import random
import socket

LOOPBACK = "127.0.0.1"
# Below the range from which systems take the near end of outgoing connections: a port from there would often be
# in use again when a server that needs ten seconds to start at last binds it.
_RANGE = range(20_000, 32_768)


def free_ports(count: int) -> list[int]:
    """`count` different ports that nobody listens on at this moment.

    Somebody else may still take one before it is used: whoever binds it has to be ready to ask again.
    """
    with contextlib.ExitStack() as held:  # held together, or the same port could come twice
        found: list[int] = []
        for port in random.sample(_RANGE, len(_RANGE)):
            if len(found) == count:
                break
            each = held.enter_context(socket.socket())
            try:
                each.bind((LOOPBACK, port))
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
            else:
                found.append(port)
        return found


def free_port() -> int:
    return free_ports(1)[0]


def is_listening(port: int) -> bool:
    """Whether somebody accepts connections on that port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((LOOPBACK, port)) == 0
