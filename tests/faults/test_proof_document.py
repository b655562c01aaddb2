"""docs/proof.md names tests: they exist."""

from __future__ import annotations

import re

from tests.conftest import REPOSITORY

NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`")
PROOF = (REPOSITORY / "docs" / "proof.md").read_text(encoding="utf-8")


def test_every_test_that_the_proof_names_exists() -> None:
    named = NAMED.findall(PROOF)
    assert len(named) > 30
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not (REPOSITORY / file).is_file()
        or (test and f"def {test}(" not in (REPOSITORY / file).read_text(encoding="utf-8"))
    ]
    assert missing == []


def test_every_fault_of_airflow_has_a_test() -> None:
    table = PROOF.split("## What Airflow and people do to a locked task")[1].split("\n## ")[0]
    cases = re.findall(r"^\| (.+?) \| (.*) \|$", table, re.MULTILINE)[1:]
    assert len(cases) > 25
    assert [case for case, tests in cases if not NAMED.search(tests) and set(case) != {"-"}] == []


def test_every_promise_has_a_test() -> None:
    guarantees = (REPOSITORY / "docs" / "guarantees.md").read_text(encoding="utf-8")
    promised = guarantees.split("## Promised")[1].split("\n## ")[0]
    numbers = re.findall(r"^(\d+)\. ", promised, re.MULTILINE)
    assert numbers
    assert set(numbers) <= set(re.findall(r"^\| (\d+) .*`tests/", PROOF, re.MULTILINE))
