"""Processes that contend for one lock: how fast it is handed over, and how fairly."""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.bench.peers import Servers

REPOSITORY = Path(__file__).resolve().parents[2]
Round = tuple[int, int, int]


@dataclass(frozen=True)
class Contention:
    """What was seen. Times in milliseconds."""

    contenders: int
    grants: int
    handover_p50: float
    """From the call that gives the lock back to the return of the call of the next one that waits."""
    handover_p99: float
    fairness: float
    """Most grants of one contender over fewest."""
    worst_wait: float
    mean_wait: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def contend(peer: str, servers: Servers, *, contenders: int, seconds: float, hold: float) -> Contention:
    """Let ``contenders`` processes take the same lock for ``seconds``, each time for ``hold`` seconds."""
    task = {
        "peer": peer,
        "postgres_dsn": servers.postgres_dsn,
        "redis_port": servers.redis_port,
        "lock": f"bench-{peer}-{contenders}",
        "seconds": seconds,
        "hold": hold,
    }
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.bench.worker", json.dumps(task)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(contenders)
    ]
    try:
        for worker in workers:
            assert worker.stdout is not None
            if worker.stdout.readline() != "ready\n":
                raise RuntimeError(f"a contender of {peer} did not start")
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        rounds = []
        for worker in workers:
            assert worker.stdout is not None
            rounds.append([(a, g, r) for a, g, r in json.loads(worker.stdout.readline())])
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    return summary(rounds)


def summary(rounds: list[list[Round]]) -> Contention:
    """The figures of one run, from what each contender saw."""
    in_order = sorted((round_ for worker in rounds for round_ in worker), key=lambda round_: round_[1])
    handovers = [
        (after[1] - before[2]) / 1e6
        for before, after in itertools.pairwise(in_order)
        if after[0] < before[2]  # only who was waiting at that moment
    ]
    waits = [(granted - asked) / 1e6 for asked, granted, _ in in_order]
    counts = [len(worker) for worker in rounds]
    return Contention(
        contenders=len(rounds),
        grants=len(in_order),
        handover_p50=percentile(handovers, 50),
        handover_p99=percentile(handovers, 99),
        fairness=max(counts) / max(1, min(counts)),
        worst_wait=max(waits),
        mean_wait=statistics.fmean(waits),
    )


def percentile(values: list[float], share: int) -> float:
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share / 100 * (len(ordered) - 1)))]
