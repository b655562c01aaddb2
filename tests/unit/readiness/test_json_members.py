"""Reading a large JSON object piece by piece."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_lockprovider.readiness.json_members import JsonMembers

DOCUMENT = {
    "format": 'a "quoted" [name], {in} brackets \\',
    "number": -12.5e3,
    "empty": {},
    "entries": [{"key": "out/ü\n漢", "size": 1234567}, {"key": "]}", "size": 0}, 17, [], "x", None, True],
    "after": [1, 2, {"entries": [3]}],
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def read(pieces: list[bytes]) -> dict[str, Any]:
    """The object put together again."""
    members = JsonMembers(pieces, one_by_one="entries")
    found: dict[str, Any] = {}
    for name, value in members:
        if name == "entries":
            found.setdefault(name, []).append(value)
        else:
            found[name] = value
    if "entries" in members.names:
        found.setdefault("entries", [])
    return found


@pytest.mark.parametrize("indent", [None, 1])
def test_it_may_be_cut_anywhere(indent: int | None) -> None:
    text = json.dumps(DOCUMENT, indent=indent, ensure_ascii=False).encode()
    for at in range(len(text)):
        assert read([text[:at], text[at:]]) == DOCUMENT
    assert read([bytes([one]) for one in text]) == DOCUMENT


@given(st.dictionaries(st.text(), VALUES, max_size=5), st.lists(VALUES, max_size=5), st.integers(1, 40), st.booleans())
def test_it_reads_what_the_standard_library_reads(
    members: dict[str, Any], entries: list[Any], size: int, ascii_only: bool
) -> None:
    document = members | {"entries": entries}
    text = json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert read([text[at : at + size] for at in range(0, len(text), size)]) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "ends before '{'"),
        ("[1]", r"'\[' where '{'"),
        ("{", "ends before|Expecting"),
        ('{"a": 1', "ends before '}'"),
        ('{"a": 1}}', "after the end"),
        ('{"a" 1}', "':' was expected"),
        ("{1: 2}", "is no name"),
        ('{"a": 1,}', "Expecting|is no name"),
        ('{"entries": {"a": 1}}', "'entries' must be a list"),
        ('{"entries": [1, 2}', r"'\]' was expected"),
        ('{"entries": [1, 2', r"ends before '\]'"),
        ('{"entries": [1,]}', "Expecting"),
        ('{"a": nul}', "Expecting"),
    ],
)
def test_what_is_no_object_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read([text.encode()])


def test_a_long_value_is_not_read_again_with_each_piece() -> None:
    asked = 0

    def pieces() -> Any:
        nonlocal asked
        yield b'{"long": "'
        for _ in range(2000):
            asked += 1
            yield b"x" * 1000
        yield b'"}'

    ((name, value),) = JsonMembers(pieces(), one_by_one="entries")
    assert (name, len(value), asked) == ("long", 2_000_000, 2000)
