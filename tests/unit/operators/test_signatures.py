"""Editors and type checkers know the doors."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY

SAMPLE = Path(__file__).with_name("dag_with_signatures.py")


# The project's own settings are left out, as a user has others. The cache is kept: without it this takes 15 seconds.
OPTIONS = (
    "--config-file=",
    "--strict",
    "--ignore-missing-imports",
    "--follow-imports=silent",
    "--no-error-summary",
    f"--cache-dir={REPOSITORY / '.mypy_cache' / 'signatures'}",
)


def test_mypy_checks_a_dag_that_uses_locks() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *OPTIONS, str(SAMPLE)],
        capture_output=True,
        text=True,
        check=False,
    )
    found = {int(line) for line in re.findall(rf"{SAMPLE.name}:(\d+): error:", done.stdout)}
    lines = SAMPLE.read_text(encoding="utf-8").splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}
    assert found == wrong, done.stdout + done.stderr
    assert len(wrong) > 10
