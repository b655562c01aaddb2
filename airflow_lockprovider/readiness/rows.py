"""The objects of a listing or of a manifest, in columns."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Iterable, Iterator, Sequence
from heapq import nsmallest
from typing import NamedTuple, overload


class Row(NamedTuple):
    """One object of a listing. ``mark`` is what else is compared (version id, ETag); ``modified`` is in epoch
    seconds, 0 if not known."""

    key: str
    size: int
    mark: str
    modified: float


class Rows(Sequence[Row]):
    """Rows that nobody changes; those of a listing or a manifest are sorted by key.

    Kept as four lists, not as a list of tuples: hundreds of thousands of small objects that live for a moment make
    Python search the whole process for garbage, and in a triggerer with all of Airflow in it the loop stands still for
    more than 100 ms meanwhile.
    """

    __slots__ = ("keys", "marks", "modified", "sizes")

    def __init__(
        self,
        keys: Sequence[str] = (),
        sizes: Sequence[int] = (),
        marks: Sequence[str] = (),
        modified: Sequence[float] = (),
    ) -> None:
        self.keys, self.sizes, self.marks, self.modified = keys, sizes, marks, modified

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Rows:
        """From single rows, sorted by key."""
        return cls(*map(list, zip(*rows, strict=True))) if (rows := list(rows)) else cls()

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """One after the other."""
        parts = [part for part in parts if part] or [cls()]
        if len(parts) == 1:
            return parts[0]
        return cls(
            [key for part in parts for key in part.keys],
            [size for part in parts for size in part.sizes],
            [mark for part in parts for mark in part.marks],
            [modified for part in parts for modified in part.modified],
        )

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Row]:
        return map(Row, self.keys, self.sizes, self.marks, self.modified)

    @overload
    def __getitem__(self, at: int) -> Row: ...

    @overload
    def __getitem__(self, at: slice) -> Rows: ...

    def __getitem__(self, at: int | slice) -> Row | Rows:
        if isinstance(at, slice):
            return Rows(self.keys[at], self.sizes[at], self.marks[at], self.modified[at])
        return Row(self.keys[at], self.sizes[at], self.marks[at], self.modified[at])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rows) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def pick(self, places: Iterable[int]) -> Rows:
        """Those at these places."""
        places = list(places)
        return Rows(
            [self.keys[at] for at in places],
            [self.sizes[at] for at in places],
            [self.marks[at] for at in places],
            [self.modified[at] for at in places],
        )

    def between(self, after: str, until: str) -> Rows:
        """Those with a key above ``after``, up to and including ``until``."""
        first, last = bisect_right(self.keys, after), bisect_right(self.keys, until)
        return self if (first, last) == (0, len(self)) else self[first:last]

    def in_lists_of(self, count: int) -> Iterator[Rows]:
        """So many at a time, the last ones fewer."""
        for first in range(0, len(self), count):
            yield self[first : first + count]

    def without(self, keys: Container[str]) -> Rows:
        """Those whose key is none of these."""
        return self.pick(at for at, key in enumerate(self.keys) if key not in keys)

    def written_at(self, modified: float) -> Rows:
        """The same, written then."""
        return Rows(self.keys, self.sizes, self.marks, [modified] * len(self))

    def missing_in(self, there: Rows) -> Rows:
        """Those that ``there`` does not have, or has with another size or mark."""
        sizes, marks = dict(zip(there.keys, there.sizes, strict=True)), dict(zip(there.keys, there.marks, strict=True))
        return self.pick(
            at
            for at, key in enumerate(self.keys)
            if sizes.get(key, -1) != self.sizes[at] or marks[key] != self.marks[at]
        )

    @property
    def prefix(self) -> str:
        """What all keys begin with. Of sorted keys the first and the last differ the most."""
        return self.keys[0][: shared(self.keys[0], self.keys[-1])] if self else ""

    def oldest(self, count: int) -> list[Row]:
        """So many of them, by the time of their writing."""
        return [
            self[at] for at in nsmallest(count, range(len(self)), key=lambda at: (self.modified[at], self.keys[at]))
        ]


def shared(one: str, other: str) -> int:
    """How many characters both begin with."""
    at = 0
    while at < min(len(one), len(other)) and one[at] == other[at]:
        at += 1
    return at
