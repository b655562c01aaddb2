"""What templates see as ``lease`` before the lease exists."""

from __future__ import annotations


class LeaseTemplate:
    """Stands for the lease in a first rendering, and notices which fields ask for it.

    Those fields are rendered once more, from their raw templates, when the lease is there.
    """

    def __init__(self) -> None:
        self.asked = False

    def __getattr__(self, name: str) -> str:
        if name.startswith("_"):
            raise AttributeError(name)
        self.asked = True
        return f"<lease.{name}>"

    def __str__(self) -> str:
        self.asked = True
        return "<lease>"
