"""``python -m tests.bench``: measures, prints a table, writes JSON. Compare ratios of one run, not digits of two."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from airflow_lockprovider.demo.ports import LOOPBACK, free_port, is_listening
from airflow_lockprovider.demo.postgres import EmbeddedPostgres
from airflow_lockprovider.lease import connect
from tests.bench import page, readiness, wrapper
from tests.bench.contention import contend
from tests.bench.peers import NEED_REDIS, OURS, PEERS, Servers
from tests.bench.scale import scale
from tests.bench.uncontended import uncontended

_MODULES = {"redis-py": "redis", "python-redis-lock": "redis_lock", "sqlalchemy-dlock": "sqlalchemy_dlock"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few seconds: whether it works, not what it measures")
    parser.add_argument("--airflow", action="store_true", help="also hand-over and waiting in real Airflow (8 minutes)")
    parser.add_argument("--json", type=Path, default=Path(".bench/report.json"))
    parser.add_argument("--engine", action="store_true", help="only the engine: against other libraries, and growth")
    parser.add_argument("--page", action="store_true", help="only the answers of the Locks page (half a minute)")
    parser.add_argument("--readiness", action="store_true", help="only what it costs to know that data has arrived")
    parser.add_argument("--million", action="store_true", help="readiness with 1,000,000 objects, too (3 minutes)")
    arguments = parser.parse_args()
    crowd = page.SMALL if arguments.quick else page.SIZES
    if arguments.page:
        answers = page.measure(crowd)
        print(f"\n{page.table(answers)}")
        _write(arguments.json.with_name("page.json"), {"machine": _machine(), **answers})
        return
    sizes = (1_000,) if arguments.quick else (*readiness.SIZES, *([1_000_000] if arguments.million else []))
    if arguments.readiness:
        found = readiness.measure(sizes, folder=arguments.json.parent)
        print(f"\n{readiness.table(found)}")
        _write(arguments.json.with_name("readiness.json"), {"machine": _machine(), **found})
        return
    report = _engine(small=arguments.quick)
    print(table(report), flush=True)
    if arguments.engine:
        _write(arguments.json.with_name("engine.json"), report)
        return
    report["wrapper"] = wrapper.measure(rounds=3, tasks=100) if arguments.quick else wrapper.measure()
    print(f"\n{wrapper.table(report['wrapper'])}", flush=True)
    report["readiness"] = readiness.measure(sizes, folder=arguments.json.parent)
    print(f"\n{readiness.table(report['readiness'])}", flush=True)
    report["page"] = page.measure(crowd)
    print(f"\n{page.table(report['page'])}", flush=True)
    if arguments.airflow:
        from tests.bench import airflow

        report["airflow"] = airflow.measure(rounds=3, waiters=True)
        print(f"\n{airflow.table(report['airflow'])}")
    _write(arguments.json, report)


def _write(path: Path, report: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(f"as JSON: {path}")


def _engine(*, small: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, _redis(Path(folder)) as redis_port:
        # Durable, as a warehouse is: a grant that a crash takes back would be none.
        with EmbeddedPostgres(Path(folder) / "postgres", durable=True) as postgres:
            servers = Servers(postgres.create_database("bench"), redis_port)
            connect(servers.postgres_dsn).init_schema()
            report: dict[str, Any] = {"machine": _machine(), "left out": {}}
            peers = _available(redis_port, report["left out"])
            seconds, contenders = (1.0, 3) if small else (8.0, 8)
            report["contention"] = {}
            for count, hold in ((2, 0.01), (contenders, 0.005)):
                for peer in peers:
                    print(f"measuring {peer} with {count} contenders", flush=True)
                    seen = contend(peer, servers, contenders=count, seconds=seconds, hold=hold)
                    report["contention"].setdefault(peer, {})[str(count)] = seen.as_dict()
            print("measuring uncontended", flush=True)
            report["uncontended"] = uncontended(servers.postgres_dsn, pairs=200 if small else 4000)
            print("measuring growth", flush=True)
            sizes = (100, 50, 1000) if small else (10_000, 1_000, 1_000_000)
            report["growth"] = scale(
                postgres.create_database("bench_growth", template="bench"),
                names=sizes[0], waiters=sizes[1], events=sizes[2],
            )  # fmt: skip
            return report


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    machine = report["machine"]
    lines = ["", ", ".join(f"{name} {value}" for name, value in machine.items()), ""]
    lines.append(
        f"{'':22}{'contenders':>11}{'grants':>8}{'hand-over ms p50 / p99':>25}{'fairness':>10}{'worst wait / mean':>19}"
    )
    lines += [_row(peer, seen) for peer, runs in report["contention"].items() for seen in runs.values()]
    lines += [f"{peer}: left out, {why}" for peer, why in report["left out"].items()]
    lines += ["", "fairness: most grants of one contender over fewest; 1.00 is ideal", ""]
    lines += [f"uncontended, {name}: {value:,.2f}" for name, value in report["uncontended"].items()]
    lines.append("")
    for name, value in report["growth"]["p50 ms"].items():
        lines.append(f"{name:52}{value:>9.2f} ms {report['growth']['ratios'][name]:>6.2f} ×")
    return "\n".join(lines)


def _row(peer: str, seen: dict[str, Any]) -> str:
    return (
        f"{peer:22}{seen['contenders']:>11}{seen['grants']:>8}"
        f"{seen['handover_p50']:>16.2f} / {seen['handover_p99']:>6.2f}{seen['fairness']:>10.2f}"
        f"{seen['worst_wait'] / seen['mean_wait']:>19.2f}"
    )


def _available(redis_port: int | None, left_out: dict[str, str]) -> list[str]:
    for peer, module in _MODULES.items():
        if importlib.util.find_spec(module) is None:
            left_out[peer] = "it is not installed: make bench installs it"
        elif peer in NEED_REDIS and redis_port is None:
            left_out[peer] = "there is no redis-server: apt install redis-server"
    return [peer for peer in PEERS if peer not in left_out]


@contextmanager
def _redis(folder: Path) -> Iterator[int | None]:
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    port = free_port()
    options = ["--port", str(port), "--bind", LOOPBACK, "--save", "", "--appendonly", "no", "--dir", str(folder)]
    with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + 10
            while not is_listening(port):
                if time.monotonic() > deadline or server.poll() is not None:
                    raise RuntimeError("redis-server does not start")
                time.sleep(0.05)
            yield port
        finally:
            server.terminate()


def _machine() -> dict[str, Any]:
    installed = {peer: version(peer if peer != "redis-py" else "redis") for peer, module in _MODULES.items()
                 if importlib.util.find_spec(module)}  # fmt: skip
    return {
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        OURS: version(OURS),
        **installed,
    }


if __name__ == "__main__":
    main()
