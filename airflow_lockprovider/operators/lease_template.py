"""What templates see as ``lease`` before the lease exists."""

from __future__ import annotations


class LeaseTemplate:
    """Stands for the lease in a first rendering, and notices which fields ask for it.

    Those fields are rendered once more, from their raw templates, when the lease is there. Until then any attribute,
    item or method of the lease gives another stand-in, so that ``{{ lease["dwh.a"].token }}`` or
    ``{{ lease.created_at.isoformat() }}`` fails no earlier than with the real lease.
    """

    def __init__(self, path: str = "lease", root: LeaseTemplate | None = None) -> None:
        self._path, self._root = path, root or self
        self.asked = False

    def _ask(self) -> None:
        self._root.asked = True

    def __getattr__(self, name: str) -> LeaseTemplate:
        if name.startswith("_"):
            raise AttributeError(name)
        self._ask()
        return LeaseTemplate(f"{self._path}.{name}", self._root)

    def __getitem__(self, key: object) -> LeaseTemplate:
        self._ask()
        return LeaseTemplate(f"{self._path}[{key!r}]", self._root)

    def __call__(self, *args: object, **kwargs: object) -> LeaseTemplate:
        self._ask()
        return LeaseTemplate(f"{self._path}()", self._root)

    def __iter__(self) -> object:
        self._ask()
        return iter(())

    def __len__(self) -> int:
        self._ask()
        return 0

    def __bool__(self) -> bool:
        self._ask()
        return True

    def __int__(self) -> int:
        self._ask()
        return 0

    def __str__(self) -> str:
        self._ask()
        return f"<{self._path}>"

    def __float__(self) -> float:
        self._ask()
        return 0.0

    # Sums, comparisons and texts put together in a template

    def __add__(self, other: object = None) -> LeaseTemplate:
        return self[other]

    __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __mod__ = __add__
    __lt__ = __le__ = __gt__ = __ge__ = __round__ = __add__
