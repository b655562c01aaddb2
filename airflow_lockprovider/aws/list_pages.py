"""Reads pages of S3 listings some ten times faster than botocore, which builds a tree for every page.

It uses a public event of botocore, ``before-parse``: the rows are taken out of the page as plain text, and
what is left goes botocore's own way, also the decoding of keys afterwards. A page that holds anything unexpected is
left to botocore as a whole, so the rows are always those that botocore would have given.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Container, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from dateutil.tz import tzutc

_UTC = tzutc()
_OWNED = re.compile(r"<Owner>((?:<\w+>[^<]*</\w+>\s*)*)</Owner>")
_ELEMENT = re.compile(r"<(\w+)>([^<]*)</\1>")
_ENTITY = re.compile(r"&(?:#(\d+)|#x([0-9a-fA-F]+)|(amp|lt|gt|quot|apos));")
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z")
_ENCODED = "<EncodingType>url</EncodingType>"
_ENCODING = re.compile(r'<\?xml[^>]*encoding=["\']([^"\']+)["\']')
# What XML forbids, or reads as something else: comments and CDATA, a carriage return, control characters.
_UNUSUAL = (b"<!", b"]]>", b"\xef\xbf\xbe", b"\xef\xbf\xbf")
_CONTROLS = bytes({*range(0x20)} - {0x09, 0x0A})
_WELCOME = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_TEXTS = frozenset({"Key", "ETag", "StorageClass", "ChecksumType", "VersionId"})
_KNOWN = _TEXTS | {"ChecksumAlgorithm", "Size", "LastModified", "IsLatest"}
_OWNER = frozenset({"ID", "DisplayName"})


_turn = threading.Lock()
"""Only one thread can calculate at a time anyway. Where many wait for that, each takes its 5 ms before the triggerer's
loop has its own again: with this lock they wait for each other, and not for what the loop waits for."""


class _Unexpected(Exception):
    """This page is botocore's."""


LEAN = frozenset({"Key", "Size", "LastModified", "ETag", "VersionId", "IsLatest"})
"""What tells two objects apart. All are values that Python's search for garbage does not have to look at: with the
lists and dicts among a row's other members, a poll of 100,000 objects made it search the whole process: see
docs/decisions/0011."""


def speed_up(client: Any, *, members: Container[str] | None = None) -> Any:
    """Let an S3 client read its listings faster; done twice it is done once. Returns the client.

    ``members``: of each row no more than these, such as `LEAN`, unless the page is left to botocore; None: all that
    botocore would give.
    """
    for operation, element, member in (
        ("ListObjectsV2", "Contents", "Contents"),
        ("ListObjectVersions", "Version", "Versions"),
    ):
        # With a wildcard in the middle it is called before botocore's own handlers of before-parse.s3.*, one of which
        # builds a tree of the page to see whether it is an error.
        client.meta.events.register(
            f"before-parse.*.{operation}", _handler(element, member, members), unique_id=f"lockprovider-{operation}"
        )
    return client


def _handler(element: str, member: str, members: Container[str] | None) -> Callable[..., None]:
    def take_rows(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
        body = response_dict.get("body")
        if response_dict.get("status_code", 0) != 200 or not isinstance(body, bytes):
            return
        try:
            with _turn:
                if _is_unusual(body):
                    return
                bodies, rest = _parted(body.decode(), element)
                rows = _rows(bodies, members)
                if members is not None and _ENCODED in rest:
                    for row in rows:
                        row["Key"] = _decoded(row["Key"])
        except (_Unexpected, ValueError):  # ValueError: not UTF-8, no number, no date
            return
        response_dict["body"] = rest.encode()
        customized_response_dict[member] = rows

    return take_rows


def _is_unusual(body: bytes) -> bool:
    return len(body.translate(None, _CONTROLS)) != len(body) or any(sign in body for sign in _UNUSUAL)


def _parted(text: str, element: str) -> tuple[list[str], str]:
    """What stands inside each such element, and the page without them."""
    opening, closing = f"<{element}>", f"</{element}>"
    head, *parts = text.split(opening)
    if not parts or not _is_utf8(head) or any(f"<{element}{after}" in text for after in " \t\n/"):
        raise _Unexpected
    bodies, rest = [], [head]
    for part in parts:
        body, closed, outside = part.partition(closing)
        if not closed or closing in outside:
            raise _Unexpected
        bodies.append(body)
        rest.append(outside)
    return bodies, "".join(rest)


def _decoded(key: str) -> str:
    """As botocore will decode it, if it will then leave it alone. It decodes key by key, which takes as long as all
    else; ``=`` is what stands in most keys."""
    if "%" not in key or "+" in key:
        return key
    plain = key.replace("%3D", "=")
    return key if "%" in plain else plain


def _is_utf8(text: str) -> bool:
    declared = _ENCODING.match(text[:200])
    return declared is None or declared[1].lower() in ("utf-8", "utf8")


def _rows(bodies: Sequence[str], members: Container[str] | None) -> list[dict[str, Any]]:
    """The objects as botocore gives them, or these ``members`` of each. Raises _Unexpected unless every character is
    accounted for."""
    rows: list[dict[str, Any]] = []
    names: tuple[str, ...] = ()
    for body in bodies:
        # Nearly all objects of a page have the same elements, so one expression reads them.
        if names and (match := _expression(names).fullmatch(body)):
            rows.append(_row(zip(names, match.groups(), strict=True), members))
            continue
        owner, rest = _owner(body)
        elements = _elements(rest)
        names = () if owner else tuple(name for name, _ in elements)
        rows.append(_row(elements, members))
        if owner and (members is None or "Owner" in members):
            rows[-1] |= owner
    return rows


@lru_cache(maxsize=64)
def _expression(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("".join(f"<{name}>([^<]*)</{name}>" for name in names))


def _row(elements: Iterable[tuple[str, str]], members: Container[str] | None) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, text in elements:
        if members is not None and name in _KNOWN and name not in members:
            continue
        if name == "ChecksumAlgorithm":
            row.setdefault(name, []).append(_unescaped(text))
        elif name in row:
            raise _Unexpected
        elif name in _TEXTS:
            row[name] = _unescaped(text) if "&" in text else text
        elif name == "Size":
            row[name] = int(text)
        elif name == "LastModified":
            row[name] = _moment(text)
        elif name == "IsLatest" and text in ("true", "false"):
            row[name] = text == "true"
        else:
            raise _Unexpected
    return row


def _elements(body: str) -> list[tuple[str, str]]:
    found = _ELEMENT.findall(body)
    outside = len(body) - sum(2 * len(name) + len(text) + 5 for name, text in found)
    if outside and not _ELEMENT.sub("", body).isspace():  # layout between the elements is no harm
        raise _Unexpected
    return found


def _owner(body: str) -> tuple[dict[str, Any], str]:
    """The owner, if the row has one, and the row without it."""
    if "<Owner>" not in body:
        return {}, body
    owners = _OWNED.findall(body)
    if len(owners) != 1:
        raise _Unexpected
    elements = _elements(owners[0])
    if len({name for name, _ in elements} & _OWNER) != len(elements):
        raise _Unexpected
    return {"Owner": {name: _unescaped(text) for name, text in elements}}, _OWNED.sub("", body)


def _unescaped(text: str) -> str:
    text = text.replace("&quot;", '"')  # every ETag
    if "&" not in text:
        return text
    if text.count("&") != len(_ENTITY.findall(text)):
        raise _Unexpected
    return _ENTITY.sub(_character, text)


def _character(match: re.Match[str]) -> str:
    decimal, hexadecimal, name = match.groups()
    if name:
        return _NAMED[name]
    try:
        found = chr(int(decimal) if decimal else int(hexadecimal, 16))
    except OverflowError as error:
        raise _Unexpected from error
    if not _WELCOME.fullmatch(found):
        raise _Unexpected
    return found


@lru_cache(maxsize=4096)  # S3 counts whole seconds, and a run writes many objects in one of them
def _moment(text: str) -> datetime:
    if not _TIME.fullmatch(text):
        raise _Unexpected
    return datetime.fromisoformat(text[:-1]).replace(tzinfo=_UTC)
