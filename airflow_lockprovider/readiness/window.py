"""A frozen set of objects as a row of windows: a million keys in some twenty kilobytes."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil
from typing import NamedTuple

from airflow_lockprovider.lease.errors import ConfigurationError

WINDOW_KEYS = 1000
"""Keys per window: what one LIST answers."""

MAX_STATE_CHARS = 45_000
"""Bound of the text form. MySQL keeps trigger kwargs in 64 kB, and encryption makes them a third longer."""

_DIGEST_BYTES = 8
_DIGESTS = 1 << 8 * _DIGEST_BYTES


class Row(NamedTuple):
    """One object of a listing. ``mark`` is what else is compared (version id, ETag); ``modified`` is in epoch
    seconds, 0 if not known."""

    key: str
    size: int
    mark: str
    modified: float


@dataclass(slots=True)
class Window:
    """The keys above ``after`` up to and including ``until``; ``digest`` covers keys and what is compared.

    ``newest`` is when the last of them was written, in epoch milliseconds: what is newer on the source was added
    or overwritten after the freeze.
    """

    after: str
    until: str
    count: int
    digest: int
    arrived: bool = False
    newest: int = 0

    @classmethod
    def of(cls, rows: Sequence[Row], after: str, until: str) -> Window:
        """The window that holds these rows, which may be none."""
        return cls(after, until, len(rows), digest(rows), newest=max(map(_milliseconds, rows), default=0))

    def holds(self, rows: Sequence[Row]) -> bool:
        """Whether it is made of just these rows."""
        return len(rows) == self.count and digest(rows) == self.digest

    def take(self, rows: Sequence[Row]) -> None:
        """From now on, hold these."""
        self.count, self.digest = len(rows), digest(rows)
        self.newest = max(map(_milliseconds, rows), default=0)

    def replace(self, row: Row, new: Row | None) -> None:
        """Hold ``new`` instead of ``row``; None: one less."""
        self.count += 0 if new else -1
        self.digest = (self.digest - digest([row]) + (digest([new]) if new else 0)) % _DIGESTS
        if new:
            self.newest = max(self.newest, _milliseconds(new))

    def not_newer(self, rows: Iterable[Row]) -> list[Row]:
        """Those that were there at the freeze, as far as their time tells."""
        return [row for row in rows if _milliseconds(row) <= self.newest]


def _milliseconds(row: Row) -> int:
    return ceil(row.modified * 1000)


def digest(rows: Iterable[Row]) -> int:
    """A fingerprint that does not depend on order and can be added up: sum of hashes, modulo 2^64.

    Being a sum, two neighbouring windows can be joined without listing them again.
    """
    total = 0
    for row in rows:
        text = f"{row.key}\0{row.size}\0{row.mark}"
        total += int.from_bytes(blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest())
    return total % _DIGESTS


def separator(last: str, following: str) -> str:
    """A short text that is not below ``last`` and is below ``following``: it may end a window as well as ``last``.

    Long irregular keys would fill the state; where two neighbours part, a few characters tell them apart.
    """
    common = 0
    while common < min(len(last), len(following)) and last[common] == following[common]:
        common += 1
    short = following[: common + 1]
    return short if short < following and len(short) < len(last) else last


def dump(windows: list[Window]) -> str:
    """The windows as text of at most `MAX_STATE_CHARS`. `load` reads it.

    A set too large for that is kept in wider windows, which cost more than one LIST each to look at.
    """
    while len(text := _encode(windows)) > MAX_STATE_CHARS:
        if len(windows) < 2:
            raise ConfigurationError("the keys are too long to be remembered")
        windows = [_join(windows[at : at + 2]) for at in range(0, len(windows), 2)]
    return text


def load(text: str) -> list[Window]:
    """The inverse of `dump`."""
    packed, _, packed_digests = text.partition(".")
    record = json.loads(zlib.decompress(base64.b64decode(packed)))
    digests = base64.b64decode(packed_digests)
    windows, after = [], ""
    newest = 0
    for at, (shared, rest, count, arrived, later) in enumerate(record):
        until = after[:shared] + rest
        raw = digests[at * _DIGEST_BYTES : (at + 1) * _DIGEST_BYTES]
        windows.append(Window(after, until, count, int.from_bytes(raw), bool(arrived), newest := newest + later))
        after = until
    return windows


def _encode(windows: list[Window]) -> str:
    record, newest = [], 0
    for window in windows:
        shared = 0
        while shared < min(len(window.after), len(window.until)) and (window.after[shared] == window.until[shared]):
            shared += 1
        # Differences are short where many objects were written in the same second.
        record.append((shared, window.until[shared:], window.count, int(window.arrived), window.newest - newest))
        newest = window.newest
    packed = zlib.compress(json.dumps(record, separators=(",", ":")).encode(), 9)
    digests = b"".join(window.digest.to_bytes(_DIGEST_BYTES) for window in windows)
    return f"{base64.b64encode(packed).decode()}.{base64.b64encode(digests).decode()}"


def _join(windows: list[Window]) -> Window:
    return Window(
        after=windows[0].after,
        until=windows[-1].until,
        count=sum(window.count for window in windows),
        digest=sum(window.digest for window in windows) % _DIGESTS,
        arrived=all(window.arrived for window in windows),
        newest=max(window.newest for window in windows),
    )
