"""``python -m tests.bench.airflow``: hand-over of a lock in a real Airflow, and what waiting costs. Takes ten minutes.

Eight one-second tasks that must not overlap: under a lock (with and without standby), in a pool of one slot, as a plain
chain. All in one Airflow, one after the other: compare the ratios. Then fifty tasks that wait for a minute.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from airflow_lockprovider.demo.airflow_services import AirflowServices
from airflow_lockprovider.demo.postgres import EmbeddedPostgres
from airflow_lockprovider.demo.supervisor import Supervisor
from airflow_lockprovider.lease import LeaseEngine, connect

DAGS = Path(__file__).parent / "dags"
TASKS = 8


@dataclass(frozen=True)
class Handover:
    """Eight bodies, one after the other. Seconds."""

    total: float
    """From the start of the first body to the end of the last one."""
    gaps: list[float]
    """From the end of a body to the start of the next one; negative: they overlapped."""

    @classmethod
    def of(cls, bodies: Sequence[tuple[float, float]]) -> Handover:
        """From (start, end) of each body, in seconds."""
        ordered = sorted(bodies)
        gaps = [after[0] - before[1] for before, after in itertools.pairwise(ordered)]
        return cls(max(end for _, end in ordered) - ordered[0][0], gaps)

    def as_dict(self) -> dict[str, Any]:
        gaps = sorted(self.gaps)
        return {
            "total s": round(self.total, 2),
            "gap p50 s": round(statistics.median(gaps), 3),
            "gap max s": round(gaps[-1], 3),
            "gap min s": round(gaps[0], 3),
        }


class Bench:
    """A running Airflow with the bench's DAGs, and its warehouse."""

    def __init__(self, services: AirflowServices, supervisor: Supervisor, metadata: str, warehouse: str) -> None:
        self._services, self._supervisor = services, supervisor
        self._metadata, self._warehouse = metadata, warehouse
        self._locks: LeaseEngine = connect(warehouse)

    def handover(self, way: str, dag_ids: Sequence[str]) -> Handover:
        """Start these DAGs together, wait for all."""
        mark = f"bench_{time.time():.0f}"
        runs = [(dag_id, self._services.client.trigger(dag_id, run_id=mark)) for dag_id in dag_ids]
        states = self._services.wait_for_runs(runs, timeout=300)
        assert set(states.values()) == {"success"}, states
        with psycopg.connect(self._warehouse) as connection:
            rows = connection.execute(
                "select started, ended from bench_body where way = %s and run_id = %s", (way, mark)
            ).fetchall()
        assert len(rows) == TASKS, f"{way}: {len(rows)} bodies ran"
        return Handover.of(rows)

    def waiting(self, way: str, seconds: float, *, usual_hold: float | None) -> dict[str, Any]:
        """Fifty mapped tasks wait for one lock: worker slots and statements that it costs, once all of them wait.

        ``usual_hold``: what history says, in seconds; None: there is none.
        """
        dag_id, name = f"waits_{way}", f"bench.waits_{way}"
        if usual_hold is not None:
            with psycopg.connect(self._warehouse) as connection:
                for _ in range(3):
                    connection.execute(
                        "insert into lockprovider.lease_event (lock_name, token, owner_id, owner, event, held)"
                        " values (%s, 1, 'bench', 'bench', 'released', %s)",
                        (name, usual_hold),
                    )
        with self._locks.hold(name, ttl=600):
            run_id = self._services.client.trigger(dag_id)
            started = time.monotonic()
            while self._states(dag_id).get("deferred", 0) < 50:
                if time.monotonic() - started > 240:
                    raise RuntimeError(f"{way}: not all wait after 240 s: {self._states(dag_id)}")
                self._supervisor.wait(0.5)
            arrived = time.monotonic() - started
            self._supervisor.wait(3)  # the triggers' own start
            slots = 0.0
            statements = self._statements()
            begin = last = time.monotonic()
            while last - begin < seconds:
                self._supervisor.wait(0.25)
                now = time.monotonic()
                slots += self._states(dag_id).get("running", 0) * (now - last)
                last = now
            self._supervisor.wait(2)  # the statistics of a session come a second late
            statements = self._statements() - statements
            path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}"
            self._services.client.request("PATCH", path, body={"state": "failed"})
        return {
            "all deferred after s": round(arrived, 1),
            "measured for s": round(last - begin, 1),
            "slot-seconds": round(slots, 1),
            "statements per second": round(statements / (last - begin + 2), 2),
        }

    def _states(self, dag_id: str) -> dict[str, int]:
        with psycopg.connect(self._metadata) as connection:
            return dict(
                connection.execute(
                    "select coalesce(state, 'none'), count(*) from task_instance where dag_id = %s group by 1",
                    (dag_id,),
                ).fetchall()
            )

    def _statements(self) -> int:
        """Transactions in the warehouse so far; each statement of ours is one. Asked from another database."""
        with psycopg.connect(self._metadata) as connection:
            ((count,),) = connection.execute(
                "select xact_commit + xact_rollback from pg_stat_database where datname = %s",
                (psycopg.conninfo.conninfo_to_dict(self._warehouse)["dbname"],),
            ).fetchall()
            return int(count)


def measure(*, rounds: int, waiters: bool) -> dict[str, Any]:
    """All figures, in one Airflow that is started and ended here."""
    report: dict[str, Any] = {"cores": os.cpu_count(), "load before": os.getloadavg()[0], "handover": [], "waiting": {}}
    with tempfile.TemporaryDirectory() as text, EmbeddedPostgres(Path(text) / "postgres") as postgres:
        folder = Path(text)
        metadata, warehouse = postgres.create_database("airflow"), postgres.create_database("warehouse")
        connect(warehouse).init_schema()
        with psycopg.connect(warehouse) as connection:
            connection.execute("create table bench_body (way text, run_id text, started float8, ended float8)")
        with Supervisor(folder / "logs") as supervisor:
            services = AirflowServices(
                folder / "airflow", DAGS, metadata, supervisor, extra_env={"AIRFLOW_CONN_DWH_DEFAULT": warehouse}
            )
            services.migrate()
            services.start()
            services.wait_until_healthy(["chain", "waits_auto", "auto_7"])
            services.client.request("POST", "/api/v2/pools", body={"name": "bench_one_slot", "slots": 1})
            bench = Bench(services, supervisor, metadata, warehouse)
            ways = {
                "1-slot pool": ("pool", [f"pool_{number}" for number in range(TASKS)]),
                "plain chain": ("chain", ["chain"]),
                "lock, no standby": ("never", [f"never_{number}" for number in range(TASKS)]),
                "lock, standby": ("auto", [f"auto_{number}" for number in range(TASKS)]),
            }
            for round_ in range(1, rounds + 1):
                for label, (way, dag_ids) in ways.items():
                    seen = bench.handover(way, dag_ids)
                    report["handover"].append({"way": label, "round": round_, **seen.as_dict()})
                    print(f"round {round_}, {label}: {seen.as_dict()}", flush=True)
            if waiters:
                for way, hold in (("never", None), ("auto", 60.0)):
                    report["waiting"][way] = bench.waiting(way, 60, usual_hold=hold)
                    print(f"fifty waiters, standby={way}: {report['waiting'][way]}", flush=True)
    return report


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = [
        f"cores {report['cores']}, load before {report['load before']:.1f}",
        "",
        "".join(("eight 1-s tasks     ", " round", "  first to last s", "  of the pool", "  gap p50 s", "  gap max s")),
    ]
    pool = {row["round"]: row["total s"] for row in report["handover"] if row["way"] == "1-slot pool"}
    lines += [
        f"{row['way']:20}{row['round']:>6}{row['total s']:>17.2f}{row['total s'] / pool[row['round']]:>13.2f}"
        f"{row['gap p50 s']:>11.3f}{row['gap max s']:>11.3f}"
        for row in report["handover"]
    ]
    lines += ["", "In the first round nothing is known of how long the lock is held.", ""]
    for way, seen in report["waiting"].items():
        words = ", ".join(f"{name} {value}" for name, value in seen.items())
        lines.append(f"fifty waiters, standby={way}: {words}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.airflow", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-waiters", action="store_true", help="only the hand-over")
    parser.add_argument("--json", type=Path, default=Path(".bench/airflow.json"))
    arguments = parser.parse_args()
    report = measure(rounds=arguments.rounds, waiters=not arguments.no_waiters)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(table(report))
    print(f"as JSON: {arguments.json}")


if __name__ == "__main__":
    main()
