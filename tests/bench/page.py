"""How long the Locks page's answers take among many locks: ``python -m tests.bench --page``."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from airflow_lockprovider.demo.postgres import EmbeddedPostgres
from airflow_lockprovider.lease import connect
from tests.conftest import AIRFLOW_HOME  # sets Airflow up, before it is imported

SIZES = {"leases": 10_000, "waiters": 2_000, "events": 100_000}
SMALL = {"leases": 100, "waiters": 20, "events": 1_000}


def measure(sizes: dict[str, int] = SIZES, *, rounds: int = 10) -> dict[str, Any]:
    """What each kind of answer costs; times in seconds."""
    if not (AIRFLOW_HOME / "airflow.db").exists():  # the auth manager may ask it
        nowhere = subprocess.DEVNULL
        subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, stdin=nowhere, stdout=nowhere)
    # Here, not above: they load Airflow, and the other benchmarks do not need it.
    from tests.integration.web.conftest import make_site
    from tests.integration.web.speed import AIM, LIMIT, QUESTIONS, Stopwatch, fill

    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder) / "postgres") as postgres:
        dsn = postgres.create_database("bench_page")
        connect(dsn).init_schema()
        fill(dsn, **sizes)
        os.environ["AIRFLOW_CONN_DWH_DEFAULT"] = dsn
        client = make_site().visitor("viewer")
        stopwatch = Stopwatch(dsn)
        answers = []
        for path, params in QUESTIONS:

            def ask(path: str = path, params: dict[str, Any] = params) -> int:
                answer = client.get(f"/lockprovider/api/{path}", params=params)
                assert answer.status_code == 200, answer.text
                return len(answer.content)

            cost = stopwatch.measure(ask, rounds)
            answers.append(
                {
                    "question": " ".join([path, *(f"{name}={value}" for name, value in params.items())]),
                    "kB": ask() / 1000,
                    "took": cost.took,
                    "median": cost.median,
                    "cpu server": cost.server,
                    "cpu database": cost.database,
                    "machine was free": cost.free,
                }
            )
        del os.environ["AIRFLOW_CONN_DWH_DEFAULT"]
    return {**sizes, "rounds": rounds, "limit": LIMIT, "aim": AIM, "answers": answers}


def table(found: dict[str, Any]) -> str:
    """The figures for people."""
    lines = [
        "The page's answers among {leases:,} leases, {waiters:,} waiters, {events:,} events; {rounds} of each.".format(
            **found
        ),
        f"In ms by the clock (aim {_ms(found['aim'])}, limit {_ms(found['limit'])}), and CPU per answer.",
        f"{'':62}{'kB':>5}{'median':>8}{'best':>6}{'worst':>7}{'CPU server':>12}{'database':>10}",
    ]
    for one in found["answers"]:
        times = (one["median"], min(one["took"]), max(one["took"]), one["cpu server"], one["cpu database"])
        figures = [f"{_ms(seconds):>{width}}" for seconds, width in zip(times, (8, 6, 7, 12, 10), strict=True)]
        lines.append(f"{one['question']:62}{one['kB']:>5.0f}{''.join(figures)}")
    if not all(one["machine was free"] for one in found["answers"]):
        lines.append("Others kept the machine busy meanwhile: CPU tells what an answer costs, the clock does not.")
    return "\n".join(lines)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f}"
