"""Takes every condition out of the SQL functions, one at a time, and sees whether a test of the contract fails.

Started as: python -m tests.mutation. The exit code is 0 only if every mutant was found, or is known to make no
difference.
"""

from __future__ import annotations

import argparse
import json
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.conftest import REPOSITORY
from tests.mutation.equivalent import EQUIVALENT
from tests.mutation.mutants import FILES, Mutant, mutants
from tests.mutation.notes import Notes, digest, whole
from tests.mutation.sample import sample


class Court:
    """A judge in a process of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.mutation.judge"],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, mutant: Mutant | None, notes: Notes, only: str = "") -> str:
        """Who finds the mutant (None: the SQL as it is); empty: nobody. ``only``: ask this test alone."""
        assert self._process.stdin
        assert self._process.stdout
        question = {
            "mutant": mutant and mutant.name,
            "first": notes.knowing(mutant) if mutant else [],
            "only": [only] if only else [],
            "seconds": notes.seconds,
        }
        print(json.dumps(question), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the judge ended with exit code {self._process.wait()}")
        told: dict[str, Any] = json.loads(answer)
        notes.seconds |= told["seconds"]
        return str(told["by"])

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def judged(chosen: list[Mutant], notes: Notes, courts: list[Court]) -> dict[str, str]:
    """Who finds each of them. Notes and tells every verdict as soon as it is there."""
    open_ones: queue.SimpleQueue[Mutant] = queue.SimpleQueue()
    for mutant in chosen:
        open_ones.put(mutant)
    found: dict[str, str] = {}
    failed: list[Exception] = []
    lock = threading.Lock()

    def work(court: Court) -> None:
        while not failed:
            try:
                mutant = open_ones.get_nowait()
            except queue.Empty:
                return
            began = time.monotonic()
            try:
                by = court.ask(mutant, notes)
            except Exception as error:
                failed.append(error)
                return
            with lock:
                found[mutant.name] = by
                notes.judged[mutant.name] = (by, digest(mutant.function))
                _tell(mutant, by, time.monotonic() - began)

    threads = [threading.Thread(target=work, args=(court,)) for court in courts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return found


def _tell(mutant: Mutant, by: str, seconds: float) -> None:
    known = EQUIVALENT.get(mutant.name)
    verdict = f"found by {by.rpartition('::')[2]}" if by else f"no difference: {known}" if known else "SURVIVES"
    print(f"{mutant.file}:{mutant.line} {mutant.name}: {verdict} ({seconds:.0f} s)", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutate", description="Mutation test of the SQL functions.")
    parser.add_argument("--every", type=int, default=1, help="only each n-th mutant (default: all)")
    parser.add_argument("--only", default="", help="only mutants whose name holds this text")
    parser.add_argument("--kinds", default="", help="only these kinds of conditions (expires_at,token,…)")
    parser.add_argument("--list", action="store_true", help="only say which there are, and what is known of them")
    parser.add_argument("--sample", action="store_true", help="a few mutants, each asked by one test")
    parser.add_argument("--go-on", action="store_true", help="leave out what was found before in the same function")
    parser.add_argument("--seconds", type=float, default=1e9, help="judge no more after this time, for parts")
    parser.add_argument("--jobs", type=int, default=1, help="so many at once, each on a server of its own")
    parser.add_argument("--json", default=".demo/mutation.json", help="notes and figures (default %(default)s)")
    given = parser.parse_args()
    every = list(mutants())
    chosen = [mutant for mutant in every if given.only in mutant.name][:: given.every]
    if given.kinds:
        chosen = [mutant for mutant in chosen if mutant.kind in given.kinds.split(",")]
    path = Path(given.json)
    notes = Notes.read(path)
    if given.list:
        for mutant in chosen:
            by = notes.verdict(mutant)
            known = "" if by is None else f": {by or EQUIVALENT.get(mutant.name, 'SURVIVES')}"
            print(f"{mutant.file}:{mutant.line} {mutant.name}{known}")
        return 0

    courts = [Court() for _ in range(given.jobs)]
    began = time.monotonic()
    try:
        if given.sample:
            found = {mutant.name: courts[0].ask(mutant, notes, only) for mutant, only in sample()}
            print(json.dumps(found))
            return 0 if all(found.values()) else 1
        if notes.sound != whole(FILES):
            if by := courts[0].ask(None, notes):
                print(f"the contract fails without any mutant: {by}")
                return 1
            notes.sound = whole(FILES)
        left = [mutant for mutant in chosen if not (given.go_on and notes.verdict(mutant) is not None)]
        while left and time.monotonic() - began < given.seconds:
            part, left = left[: 4 * given.jobs], left[4 * given.jobs :]
            judged(part, notes, courts)
            notes.write(path)
    finally:
        for court in courts:
            court.close()
    return _sum_up(chosen, every, notes, round(time.monotonic() - began))


def _sum_up(chosen: list[Mutant], every: list[Mutant], notes: Notes, seconds: int) -> int:
    verdicts = {mutant.name: notes.verdict(mutant) for mutant in chosen}
    known = {name: by for name, by in verdicts.items() if by is not None}
    survivors = [name for name, by in known.items() if not by and name not in EQUIVALENT]
    figures = {
        "mutants": len(chosen),
        "not judged": len(chosen) - len(known),
        "found": sum(bool(by) for by in known.values()),
        "no difference": sum(not by for by in known.values()) - len(survivors),
        "survivors": len(survivors),
        "seconds": seconds,
    }
    print(*(f"{name}: {value}" for name, value in figures.items()), sep=", ")
    for name in survivors:
        print(f"survives: {name}")
    gone = sorted(EQUIVALENT.keys() - {mutant.name for mutant in every})
    for name in gone:
        print(f"listed as making no difference, but there is no such mutant: {name}")
    needless = [name for name, by in known.items() if by and name in EQUIVALENT]
    for name in needless:
        print(f"listed as making no difference, but a test finds it: {name}")
    return 1 if survivors or gone or needless or figures["not judged"] else 0


if __name__ == "__main__":
    sys.exit(main())
