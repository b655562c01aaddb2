"""The fence: a tiny empty table per lock. Who holds its table lock keeps everybody from granting that lock.

A guarded transaction takes it first. A grant that has to remove a dead lease takes it too, so that it waits for no
renewal and no renewal waits for it.
"""

from __future__ import annotations

import hashlib


def lock_key(lock_name: str) -> str:
    """A short name for the lock that needs no quoting: backslashes in literals mean different things to servers."""
    return hashlib.sha256(lock_name.encode("utf-8")).hexdigest()[:24]


def fence_table(lock_name: str) -> str:
    """Name of the lock's fence table."""
    return f"fence_{lock_key(lock_name)}"
