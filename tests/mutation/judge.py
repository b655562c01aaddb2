"""Judges one mutant after the other, on a server of its own. Started as: python -m tests.mutation.judge

Reads questions and writes answers, a line of JSON each. It is asked by `tests.mutation`.
"""

from __future__ import annotations

import io
import json
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import Any

import pytest

import tests.conftest
from airflow_lockprovider.demo.postgres import EmbeddedPostgres
from airflow_lockprovider.lease import store
from tests.faults.torture import server
from tests.mutation.mutants import Mutant, Mutated, mutants

CONTRACT = ["tests/mutation/test_conditions.py", "tests/conformance", "tests/integration/lease/test_locked_rows.py"]
MODEL = ["tests/model"]
"""Asked last, about what the contract has not found: it takes as long as all the rest."""
PATIENCE = 30
"""Seconds for one test (a minute for the model); a mutant on which it hangs is found, too."""
SHORT = 3.0
"""Seconds; tests that take longer are not asked."""


@dataclass(eq=False)  # plugins have to be hashable
class Judge:
    """A pytest plugin: asks those first that have found the most, stops those that hang, remembers who found it."""

    patience: int = PATIENCE
    first: list[str] = field(default_factory=list)
    by: str = ""
    found: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if self.seconds.get(item.nodeid, 0) <= SHORT or self.patience > PATIENCE]
        rank = {name: place for place, name in enumerate(self.first)}
        items.sort(
            key=lambda item: (
                rank.get(item.nodeid, len(rank)),
                -self.found[item.nodeid],
                self.seconds.get(item.nodeid, 0.1),
            )
        )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        def hangs(*_: Any) -> None:
            raise TimeoutError(f"hangs for {self.patience} s")

        signal.signal(signal.SIGALRM, hangs)
        signal.alarm(self.patience)
        try:
            return (yield)
        finally:
            signal.alarm(0)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.seconds.setdefault(report.nodeid, report.duration)
        if report.failed and not self.by:
            self.by = report.nodeid if report.when != "setup" else f"the setup of {report.nodeid}"
            self.found[report.nodeid] += 1


def judge(mutant: Mutant | None, plugin: Judge, tests_to_ask: list[str]) -> str:
    """The test that fails on the mutant; empty if none does."""
    plugin.by = ""
    original = store.statements
    store.statements = lambda dialect, schema: Mutated(schema, mutant)  # type: ignore[assignment]
    arguments = [
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "",
        "-k",
        "postgres or locked_rows",
        "--no-header",
        "--tb=no",
    ]
    said = io.StringIO()
    try:
        with redirect_stdout(said):
            code = pytest.main([*arguments, *tests_to_ask], plugins=[plugin])
    finally:
        store.statements = original  # type: ignore[assignment]
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(f"pytest ended with {code!r}: {said.getvalue()[-4000:]}")
    return plugin.by


class Shared:
    """The server of all mutants, for a fixture that believes it is its own."""

    def __init__(self, running: EmbeddedPostgres) -> None:
        self._running = running

    def __enter__(self) -> EmbeddedPostgres:
        return self._running

    def __exit__(self, *_: object) -> None:
        return None


def main() -> None:
    plugin = Judge()
    known = {mutant.name: mutant for mutant in mutants()}
    with server() as running:
        tests.conftest.EmbeddedPostgres = lambda folder: Shared(running)  # type: ignore[assignment,misc]
        for line in sys.stdin:
            question = json.loads(line)
            plugin.seconds |= question["seconds"]
            plugin.first, plugin.patience = question["first"], PATIENCE
            mutant = known[question["mutant"]] if question["mutant"] else None
            by = judge(mutant, plugin, question["only"] or CONTRACT)
            if not by and mutant and not question["only"]:
                plugin.patience = 2 * PATIENCE
                by = judge(mutant, plugin, MODEL)
            print(json.dumps({"by": by, "seconds": plugin.seconds}), flush=True)


if __name__ == "__main__":
    main()
