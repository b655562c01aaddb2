"""A frozen set of objects as a row of windows: a million keys in some twenty kilobytes."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass
from hashlib import blake2b
from math import ceil

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.rows import Row, Rows, shared

WINDOW_KEYS = 1000
"""Keys per window: what one LIST answers."""

MAX_STATE_CHARS = 45_000
"""Bound of the text form. MySQL keeps trigger kwargs in 64 kB, and encryption makes them a third longer."""

_DIGEST_BYTES = 8
_DIGESTS = 1 << 8 * _DIGEST_BYTES


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
    def of(cls, rows: Rows, after: str, until: str) -> Window:
        """The window that holds these rows, which may be none."""
        return cls(after, until, len(rows), digest(rows), newest=_newest(rows))

    def holds(self, rows: Rows) -> bool:
        """Whether it is made of just these rows."""
        return len(rows) == self.count and digest(rows) == self.digest

    def take(self, rows: Rows) -> None:
        """From now on, hold these."""
        self.count, self.digest, self.newest = len(rows), digest(rows), _newest(rows)

    def replace(self, row: Row, new: Row | None) -> None:
        """Hold ``new`` instead of ``row``; None: one less."""
        self.count += 0 if new else -1
        self.digest = (self.digest - digest(Rows.of([row])) + (digest(Rows.of([new])) if new else 0)) % _DIGESTS
        if new:
            self.newest = max(self.newest, _milliseconds(new.modified))

    def not_newer(self, rows: Rows) -> Rows:
        """Those that were there at the freeze, as far as their time tells."""
        return rows.pick(at for at, modified in enumerate(rows.modified) if _milliseconds(modified) <= self.newest)


def _newest(rows: Rows) -> int:
    return _milliseconds(max(rows.modified, default=0.0))


def _milliseconds(modified: float) -> int:
    return ceil(modified * 1000)


def digest(rows: Rows) -> int:
    """A fingerprint that does not depend on order and can be added up: sum of hashes, modulo 2^64.

    Being a sum, two neighbouring windows can be joined without listing them again.
    """
    total = 0
    for key, size, mark in zip(rows.keys, rows.sizes, rows.marks, strict=True):
        text = f"{key}\0{size}\0{mark}"
        total += int.from_bytes(blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest())
    return total % _DIGESTS


def separator(last: str, following: str) -> str:
    """A short text that is not below ``last`` and is below ``following``: it may end a window as well as ``last``.

    Long irregular keys would fill the state; where two neighbours part, a few characters tell them apart.
    """
    short = following[: shared(last, following) + 1]
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
    for at, (common, rest, count, arrived, later) in enumerate(record):
        until = after[:common] + rest
        raw = digests[at * _DIGEST_BYTES : (at + 1) * _DIGEST_BYTES]
        windows.append(Window(after, until, count, int.from_bytes(raw), bool(arrived), newest := newest + later))
        after = until
    return windows


def _encode(windows: list[Window]) -> str:
    record, newest = [], 0
    for window in windows:
        common = shared(window.after, window.until)
        # Differences are short where many objects were written in the same second.
        record.append((common, window.until[common:], window.count, int(window.arrived), window.newest - newest))
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
