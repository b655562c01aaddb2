"""The mutation test in its short form: one mutant of each kind is found. The long form: make mutate."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.mutation.mutants import mutants

KINDS = ["expires_at", "owner_id", "token", "queue place", "capacity", "state", "paused", "skip_after", "prune_after",
         "hold_until", "shared", "ticket", "lock_name", "row lock", "skip locked", "implicit transaction"]  # fmt: skip


def test_one_mutant_of_each_kind_is_found_by_its_test() -> None:
    """In a process of its own: a pytest inside pytest."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.mutation", "--sample"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_condition_is_still_recognised_in_the_functions(kind: str) -> None:
    assert [mutant for mutant in mutants() if f": {kind}: " in mutant.name]


def test_mutants_have_names_of_their_own_and_change_something() -> None:
    found = list(mutants())
    assert len({mutant.name for mutant in found}) == len(found)
