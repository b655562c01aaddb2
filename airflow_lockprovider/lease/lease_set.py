"""Several leases that were granted together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from airflow_lockprovider.lease.model import Lease


@dataclass(frozen=True, slots=True)
class LeaseSet(Mapping[str, Lease]):
    """The answer to a request for several locks: a mapping from lock name to lease, each with its own token.

    Granted all or nothing, to one owner, at one moment. It is kept, guarded and given back as a whole; if one of its
    leases is lost, the set is.
    """

    leases: tuple[Lease, ...]
    """In the order of the lock names."""

    def __getitem__(self, name: str) -> Lease:
        for lease in self.leases:
            if lease.lock_name == name:
                return lease
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (lease.lock_name for lease in self.leases)

    def __len__(self) -> int:
        return len(self.leases)

    def __bool__(self) -> Literal[True]:
        return True

    @property
    def lock_name(self) -> str:
        """All names, for messages."""
        return ", ".join(self)

    @property
    def owner_id(self) -> str:
        return self.leases[0].owner_id

    @property
    def owner(self) -> str:
        return self.leases[0].owner

    @property
    def tokens(self) -> dict[str, int]:
        """The fencing token of each lock."""
        return {lease.lock_name: lease.token for lease in self.leases}

    @property
    def ttl(self) -> float:
        """Seconds that a renewal is worth."""
        return min(lease.ttl for lease in self.leases)

    @property
    def remaining(self) -> float:
        """Seconds until the first of them expires, as the database saw it while answering."""
        return min(lease.remaining for lease in self.leases)

    @property
    def expires_at(self) -> datetime:
        return min(lease.expires_at for lease in self.leases)

    @property
    def trusted_until(self) -> float:
        """Local deadline on `clock.boottime()`, as of a single lease."""
        return min(lease.trusted_until for lease in self.leases)

    @property
    def ticket(self) -> int | None:
        return self.leases[0].ticket

    @property
    def waited(self) -> float:
        """Seconds from the ticket to the grant."""
        return self.leases[0].waited

    @property
    def guard(self) -> str:
        """SQL that fails its transaction unless all leases are still held; send it first, inside a transaction."""
        texts = [lease.guard for lease in self.leases]
        if all(text.startswith("select ") for text in texts):
            return "select " + ", ".join(text.removeprefix("select ") for text in texts)
        # Redshift: a fence to lock, then a check. All fences first, in order: the first check fixes what all see.
        parts = [text.split(";\n", 1) for text in texts]
        return ";\n".join([*sorted(fence for fence, _ in parts), *(check for _, check in parts)])

    def __str__(self) -> str:
        names = ", ".join(f"{lease.lock_name!r} (token {lease.token})" for lease in self.leases)
        return f"leases on {names} of {self.owner}"
