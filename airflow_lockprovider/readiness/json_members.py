"""Reads a large JSON object member by member, without holding all of it."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

_SPACE = re.compile(r"[ \t\n\r]*")
_AFTER_A_VALUE = frozenset(":,]} \t\n\r")
_DECODER = json.JSONDecoder()


class JsonMembers:
    """Iterate over it for (name, value) of each member; of the array called ``one_by_one`` for each element, under
    the array's name. ValueError for what is no JSON object.

    ``pieces``: the text in UTF-8, cut anywhere. ``names``: those that were seen so far.
    """

    def __init__(self, pieces: Iterable[bytes], *, one_by_one: str) -> None:
        self._pieces = codecs.iterdecode(pieces, "utf-8-sig")
        self._one_by_one = one_by_one
        self._text, self._at = "", 0
        self.names: set[str] = set()

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        self._expect("{")
        more = self._next() != "}"
        while more:
            name = self._value()
            if not isinstance(name, str):
                raise ValueError(f"{name!r} is no name of a member")
            self._expect(":")
            self.names.add(name)
            if name == self._one_by_one:
                for element in self._elements(name):
                    yield name, element
            else:
                yield name, self._value()
            more = self._next() == ","
            self._at += more
        self._expect("}")
        if rest := self._next():
            raise ValueError(f"{rest!r} after the end of the object")

    def _elements(self, name: str) -> Iterator[Any]:
        if self._next() != "[":
            raise ValueError(f"{name!r} must be a list")
        self._at += 1
        more = self._next() != "]"
        while more:
            yield self._value()
            more = self._next() == ","
            self._at += more
        self._expect("]")

    def _expect(self, sign: str) -> None:
        if (found := self._next()) != sign:
            raise ValueError(f"{found!r} where {sign!r} was expected" if found else f"the text ends before {sign!r}")
        self._at += 1

    def _next(self) -> str:
        """The next character that is no space, without taking it; "" at the end."""
        while True:
            match = _SPACE.match(self._text, self._at)
            assert match
            self._at = match.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._fill():
                return ""

    def _value(self) -> Any:
        self._next()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except ValueError:
                if not self._fill():
                    raise
                continue
            # What stands here may be a part of a number: -1 of -12, or 12 of 12.5.
            if self._text[end : end + 1] in _AFTER_A_VALUE or not self._fill():
                self._at = end
                return value

    def _fill(self) -> bool:
        """Take in more text, at least as much as is held, so that a long value is not read again too often."""
        held = self._text[self._at :]
        parts, wanted = [held], max(1, len(held))
        for piece in self._pieces:
            parts.append(piece)
            wanted -= len(piece)
            if wanted <= 0:
                break
        self._text, self._at = "".join(parts), 0
        return len(self._text) > len(held)
