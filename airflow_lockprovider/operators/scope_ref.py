"""How a task knows that it is a member of a scope."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Scope:
    """The tasks of a scope, as its members and its keeper name them."""

    acquire_id: str
    """Task id of its first task."""
    release_id: str
    """Task id of its last task."""
    mapped: bool = False
    """Whether the whole scope lies in a mapped TaskGroup: then each map index is a scope of its own."""

    def map_index(self, member: int) -> int:
        """Map index of the scope's tasks, as a task with map index ``member`` sees them."""
        return member if self.mapped else -1


@dataclass(frozen=True, slots=True)
class InScope:
    """The value of ``lock=`` of a member: the scope, and the lock to take by itself when the scope is over."""

    scope: Scope
    lock: Any
