"""Just enough reading of SQL text: where its literals and comments are, and so where they are not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_NOT_CODE = re.compile(
    r"""
      [eE]'(?:[^'\\]|\\.|'')*'            # an escape string
    | '(?:[^']|'')*'
    | "(?:[^"]|"")*"
    | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$     # a function body, mostly
    | --[^\n]*
    | /\*.*?\*/
    """,
    re.VERBOSE | re.DOTALL,
)
_NAMED = re.compile(r"(?<![:\w]):([A-Za-z_]\w*)")


def without_comments(sql: str) -> str:
    return "".join(" " if text.startswith(("--", "/*")) else text for text, _ in _pieces(sql)).strip()


def is_several_statements(sql: str) -> bool:
    code = "".join(text if is_code else "x" for text, is_code in _pieces(without_comments(sql)))
    return ";" in code.strip().rstrip("; \n\t\r")


def parameter_names(sql: str) -> set[str]:
    return {name for text, is_code in _pieces(sql) if is_code for name in _NAMED.findall(text)}


def for_psycopg(sql: str, parameters: Mapping[str, str]) -> str:
    """``:name`` as ``%(name)s``, for the names that are given; everything else stays as it is."""
    if not parameters:
        return sql

    def placeholder(found: re.Match[str]) -> str:
        return f"%({found[1]})s" if found[1] in parameters else found[0]

    return "".join(
        _NAMED.sub(placeholder, text.replace("%", "%%")) if is_code else text.replace("%", "%%")
        for text, is_code in _pieces(sql)
    )


def _pieces(sql: str) -> Iterator[tuple[str, bool]]:
    """The text in order, each piece either code or one literal or comment."""
    end = 0
    for found in _NOT_CODE.finditer(sql):
        yield sql[end : found.start()], True
        yield found[0], False
        end = found.end()
    yield sql[end:], True
