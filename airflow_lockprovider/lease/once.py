"""Work that must be done once: the engine's verbs about what has been done under which key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow_lockprovider.lease.calls import Calls
from airflow_lockprovider.lease.duration import Duration, seconds
from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.lease.model import Lease


@dataclass(frozen=True, slots=True)
class Done:
    """A success that was recorded: by whom, under which token, and when."""

    lock_name: str
    key: str
    token: int
    owner_id: str
    owner: str
    done_at: datetime

    def __str__(self) -> str:
        return (
            f"{self.key!r} under lock {self.lock_name!r} was done by {self.owner} "
            f"at {self.done_at:%Y-%m-%d %H:%M:%S%z} (token {self.token})"
        )


class OnceVerbs(Calls):
    """Part of `LeaseEngine`: a second run of the same work finds out that the first one succeeded."""

    def done(self, lock_name: str, key: str) -> Done | None:
        """Who has done the work of this key; None: nobody, as far as is recorded.

        Only while holding the lock does None mean "go ahead": else another owner may be at it.
        """
        (row,) = self.store.call("done", lock_name=lock_name, once_key=key)
        return None if row["token"] is None else _done(lock_name, key, row)

    def check_once(self, lease: Lease, key: str) -> Done | None:
        """`done`, for the owner of a lease. Raises ConfigurationError if others may hold the lock beside it."""
        (row,) = self.store.call("done", lock_name=lease.lock_name, once_key=key)
        if lease.shared or lease.units * 2 <= row["capacity"]:
            kind = "shared" if lease.shared else f"of units={lease.units}"
            raise ConfigurationError(
                f"lock {lease.lock_name!r} has capacity {row['capacity']}, so a lease {kind} does not keep others from "
                f"the work of {key!r}: take an exclusive lease of more than half of the capacity"
            )
        return None if row["token"] is None else _done(lease.lock_name, key, row)

    def mark_done(self, lease: Lease, key: str) -> Done:
        """Record that the work of this key has succeeded, before the lease is given back.

        Saying it twice changes nothing. Raises LeaseLost when the lease is no longer ours: then nothing is recorded,
        and ConfigurationError if the lease lets others work beside it.
        """
        (row,) = self.store.call(
            "mark_done", lock_name=lease.lock_name, token=lease.token, owner_id=lease.owner_id, once_key=key
        )
        return _done(lease.lock_name, key, row)

    def forget_done(self, lock_name: str, key: str) -> bool:
        """Let the work of this key run again. False: it was not recorded as done."""
        (row,) = self.store.call("forget_done", lock_name=lock_name, once_key=key, older_than=0.0)
        return bool(row["forget_done"])

    def prune_done(self, older_than: Duration) -> int:
        """Forget all that was done longer ago than this. Returns how many keys; they may then run again."""
        age = seconds(older_than, setting="older_than")
        (row,) = self.store.call("forget_done", lock_name=None, once_key=None, older_than=age)
        return int(row["forget_done"])


def _done(lock_name: str, key: str, row: dict[str, Any]) -> Done:
    return Done(lock_name, key, row["token"], row["owner_id"], row["owner"], row["done_at"])
