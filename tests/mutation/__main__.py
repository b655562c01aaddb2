"""Takes every condition out of the SQL functions, one at a time, and sees whether a test of the contract fails.

Started as: python -m tests.mutation. The exit code is 0 only if every mutant was found, or is known to make no
difference.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

import tests.conftest
from airflow_lockprovider.demo.postgres import EmbeddedPostgres
from airflow_lockprovider.lease import store
from tests.faults.torture import server
from tests.mutation.equivalent import EQUIVALENT
from tests.mutation.mutants import Mutant, Mutated, mutants
from tests.mutation.sample import sample

CONTRACT = ["tests/mutation/test_conditions.py", "tests/conformance", "tests/integration/lease/test_locked_rows.py"]
PATIENCE = 8
"""Seconds for one test; a mutant on which it hangs is found, too."""


class Judge:
    """A pytest plugin: stops hanging tests, asks those first that have found the most, and remembers who found it."""

    def __init__(self) -> None:
        self.found = Counter[str]()
        self.by = ""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: -self.found[item.nodeid])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        def hangs(*_: Any) -> None:
            raise TimeoutError(f"hangs for {PATIENCE} s")

        signal.signal(signal.SIGALRM, hangs)
        signal.alarm(PATIENCE)
        try:
            return (yield)
        finally:
            signal.alarm(0)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.by:
            self.by = report.nodeid


def judge(mutant: Mutant | None, plugin: Judge, only: str = "") -> str:
    """The test that fails on the mutant; empty if none does. ``only``: ask this test alone."""
    plugin.by = ""
    original = store.statements
    store.statements = lambda dialect, schema: Mutated(schema, mutant)  # type: ignore[assignment]
    arguments = ["-x", "-q", "-p", "no:cacheprovider", "-k", "postgres or locked_rows", "--no-header", "--tb=no"]
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            code = pytest.main([*arguments, *([only] if only else CONTRACT)], plugins=[plugin])
    finally:
        store.statements = original  # type: ignore[assignment]
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(f"pytest ended with {code!r}")
    if plugin.by:
        plugin.found[plugin.by] += 1
    return plugin.by


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutate", description="Mutation test of the SQL functions.")
    parser.add_argument("--every", type=int, default=1, help="only each n-th mutant (default: all)")
    parser.add_argument("--only", default="", help="only mutants whose name holds this text")
    parser.add_argument("--kinds", default="", help="only these kinds of conditions (expires_at,token,…)")
    parser.add_argument("--list", action="store_true", help="only say which there are")
    parser.add_argument("--sample", action="store_true", help="a few mutants, each asked by one test")
    parser.add_argument("--json", default=".demo/mutation.json", help="figures go here (default %(default)s)")
    given = parser.parse_args()
    chosen = [mutant for mutant in mutants() if given.only in mutant.name][:: given.every]
    if given.kinds:
        chosen = [mutant for mutant in chosen if mutant.name.split(": ")[1] in given.kinds.split(",")]
    if given.list:
        print(*(f"{mutant.file}:{mutant.line} {mutant.name}" for mutant in chosen), sep="\n")
        return 0

    began = time.monotonic()
    plugin = Judge()
    survivors, needless, killers = [], [], {}
    with server() as running:
        tests.conftest.EmbeddedPostgres = lambda folder: _Shared(running)  # type: ignore[assignment,misc]
        if not given.sample and (by := judge(None, plugin)):
            print(f"the contract fails without any mutant: {by}")
            return 1
        if given.sample:
            found = {mutant.name: judge(mutant, plugin, only) for mutant, only in sample()}
            print(json.dumps(found))
            return 0 if all(found.values()) else 1
        for mutant in chosen:
            known = EQUIVALENT.get(mutant.name)
            by = judge(mutant, plugin)
            killers[mutant.name] = by
            if by and known:
                needless.append(mutant.name)
            if not by and not known:
                survivors.append(mutant)
            verdict = f"found by {by.rpartition('::')[2]}" if by else f"no difference: {known}" if known else "SURVIVES"
            print(f"{mutant.file}:{mutant.line} {mutant.name}: {verdict}", flush=True)
    figures = {
        "mutants": len(chosen),
        "found": sum(bool(by) for by in killers.values()),
        "no difference": sum(not by for by in killers.values()) - len(survivors),
        "survivors": [mutant.name for mutant in survivors],
        "seconds": round(time.monotonic() - began),
    }
    Path(given.json).parent.mkdir(parents=True, exist_ok=True)
    Path(given.json).write_text(json.dumps({**figures, "found by": killers}, indent=2) + "\n", encoding="utf-8")
    print(
        *(f"{name}: {value if not isinstance(value, list) else len(value)}" for name, value in figures.items()),
        sep=", ",
    )
    gone = EQUIVALENT.keys() - {mutant.name for mutant in mutants()}
    for name in sorted(gone):
        print(f"listed as making no difference, but there is no such mutant: {name}")
    for name in needless:
        print(f"listed as making no difference, but a test finds it: {name}")
    return 1 if survivors or needless or gone else 0


class _Shared:
    """The server of all mutants, for a fixture that believes it is its own."""

    def __init__(self, running: EmbeddedPostgres) -> None:
        self._running = running

    def __enter__(self) -> EmbeddedPostgres:
        return self._running

    def __exit__(self, *_: object) -> None:
        return None


if __name__ == "__main__":
    sys.exit(main())
