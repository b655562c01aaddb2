"""Mutants: the SQL functions with one condition taken out.

Found in the functions' text by patterns, so that a new condition makes a new mutant by itself.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from airflow_lockprovider.lease.statements import Statements

FILES = ("functions_internal.sql", "functions.sql", "functions_once.sql", "guard.sql")
_RULES = [  # kind, what stands there, what stands there then
    ("expires_at", r"\b(?!mine)[a-z]\w*\.expires_at (?:<=|>) clock_timestamp\(\)", "true"),
    ("expires_at", r"\bmine\.expires_at (?:<=|>) clock_timestamp\(\)", "false"),
    ("owner_id", r"\b[a-z]\w*\.owner_id = [a-z_]+(?:\.owner_id)?\b", "true"),
    ("token", r"\b[a-z]\w*\.token = (?!any)[a-z_]+(?:\.token)?\b", "true"),
    ("ticket", r"\b[a-z]\w*\.ticket = (?!any)[a-z_]+(?:\.(?:ticket|number))?\b", "true"),
    ("lock_name", r"\b[a-z]\w*\.lock_name = (?:any \([a-z_.]+\)|[a-z_]+(?:\.lock_name)?\b)", "true"),
    ("state", r"\b(?!mine)[a-z]\w*\.state (?:=|<>|in|not in) (?:'[a-z]+'|\([^)]*\))", "true"),
    ("state", r"\bmine\.state (?:=|<>|in|not in) (?:'[a-z]+'|\([^)]*\))", "false"),
    ("queue place", r"\bor \"lockprovider\"\._is_behind\([^()]*\)", ""),
    ("queue place", r"\bw\.priority > p_priority", "false"),
    ("queue place", r"\bw\.ticket < p_ticket", "true"),
    (
        "queue place",
        r"\bnot exists \(select 1 from \"lockprovider\"\.(?:waiter|lease) [a-z] where [^()]*\([^()]*\)\)",
        "true",
    ),
    ("queue place", r"\bwhere [a-z]\.counts\b", "where true"),
    ("queue place", r"\bw\.priority desc, w\.ticket", "w.ticket"),
    ("queue place", r"\bw\.priority desc, w\.ticket", "w.priority desc, w.ticket desc"),
    ("capacity", r"\+ (?:p_)?units <= [a-z]\w*(?:\.capacity|\([a-z]\.capacity\))", "<= 1000000"),
    ("capacity", r"\b[a-z]\w*(?:\.units)? <= k\.capacity", "true"),
    ("capacity", r"\bw\.units <= \(select[^()]*\)", "true"),
    ("capacity", r"\bp_units(?:\[\w+\])? > k\.capacity", "false"),
    ("capacity", r"\bp_capacity(?:\[\w+\])? <> k\.capacity", "false"),
    ("capacity", r"\bn\.(?:capacity <>|units >) k\.capacity", "false"),
    ("capacity", r"\bwrong\.(?:declared <>|units >) wrong\.capacity", "false"),
    ("capacity", r"\b(?:l\.units >=|n\.capacity =) k\.capacity", "true"),
    ("token", r"greatest\(k\.last_token \+ 1, floor\(.*?\)::bigint\)", "k.last_token + 1"),
    ("token", r"\bk\.last_token \+ 1\b", "0"),
    ("shared", r"\bnot \(w\.shared and p_shared\)", "true"),
    ("shared", r"not bool_or\((?:not )?l\.shared\)", "true"),
    ("paused", r"\band k\.paused\b", "and false"),
    ("paused", r"\bnot k\.paused\b", "true"),
    ("skip_after", r"greatest\([^()]*\) > clock_timestamp\(\) - make_interval\(secs => (?:p_)?skip_after\)", "true"),
    ("prune_after", r"<= clock_timestamp\(\) - make_interval\(secs => prune_after\)", "is not null"),
    ("hold_until", r"[a-z]\.hold_until (?:<=|>) clock_timestamp\(\)", "true"),
    ("row lock", r"\b(?:for no key update(?: of [a-z])?|for update(?: of [a-z])?|for key share) skip locked", ""),
    ("row lock", r"\b(?:for no key update(?: of [a-z])?|for update(?: of [a-z])?|for key share)\b(?! skip)", ""),
    ("skip locked", r" skip locked", ""),
    ("implicit transaction", r"transaction_timestamp\(\) = statement_timestamp\(\)", "false"),
    ("implicit transaction", r"new\.at = statement_timestamp\(\)", "false"),
]
_FUNCTION = re.compile(r'^create function "lockprovider"\.(\w+)', re.MULTILINE)
_COMMENT = re.compile(r"--[^\n]*")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One place in one file, and what stands there instead."""

    name: str
    kind: str
    file: str
    start: int
    end: int
    instead: str
    line: int
    function: str
    """The text of the function that it is in, as it is."""

    def apply(self, text: str) -> str:
        return text[: self.start] + self.instead + text[self.end :]


class Mutated(Statements):
    """The statements of the Postgres dialect with a mutant in them."""

    def __init__(self, schema: str, mutant: Mutant | None) -> None:
        self._mutant = mutant
        super().__init__("postgres", schema)

    def script(self, name: str) -> str:
        text = super().script(name)
        return self._mutant.apply(text) if self._mutant and self._mutant.file == name else text


def mutants() -> Iterator[Mutant]:
    """All mutants, by file and place. A name says which condition of which function is gone: stable while both are."""
    original = Statements("postgres", "lockprovider")
    for file in FILES:
        text = original.script(file)
        code = _COMMENT.sub(lambda found: " " * len(found[0]), text)  # same places, no words to find
        begins = [(found.start(), found[1]) for found in _FUNCTION.finditer(code)]
        seen: Counter[str] = Counter()
        places: list[tuple[int, int, str, str]] = []
        for kind, pattern, instead in _RULES:
            places += [(found.start(), found.end(), kind, instead) for found in re.finditer(pattern, code)]
        for start, end, kind, instead in sorted(places):
            begin, function = [found for found in begins if found[0] < start][-1]
            after = min([place for place, _ in begins if place > start], default=len(code))
            what = " ".join(code[start:end].split())
            name = f"{function}: {kind}: {what}" + (f" → {instead}" if instead not in ("true", "false", "") else "")
            seen[name] += 1
            number = f" #{seen[name]}" if seen[name] > 1 else ""
            line = text.count("\n", 0, start) + 1
            yield Mutant(name + number, kind, file, start, end, instead, line, code[begin:after])
