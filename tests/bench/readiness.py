"""How dear is it to know that all objects have arrived? Our sensors against the amazon provider's, on one server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tests.bench.readiness_worker import AT_ONCE, CONN_ID

LATENCY = 0.06
SIZES = (1_000, 10_000, 100_000)
HEADS_MEASURED = 300
"""S3KeySensor asks for one key after the other, so its time is that of so many keys, scaled up."""
TRIGGER_UP_TO = 10_000
"""S3KeyTrigger takes minutes and gigabytes above it."""
OURS = ("S3ReplicationSensor", "S3ReplicationSensor, manifest", "S3ManifestSensor")
MISSING = 5
POLLS = 3
"""Of so many polls the one that held up the loop the most counts."""
MANY_POLLS_UP_TO = 100_000
AIOBOTOCORE = ("aiobotocore==3.10.0", "boto3==1.43.117")
"""What the provider's trigger needs: an older botocore, so it is installed aside."""
PRICE = {"ListObjectsV2": 0.005 / 1000, "ListObjectVersions": 0.005 / 1000}
PRICE_OF_OTHERS = 0.0004 / 1000
"""US dollars per request, us-east-1, S3 Standard. One LIST is 12.5 HEADs."""
SECONDS = {10_000: 1.0, 100_000: 15.0}
MANY = f"poll, all missing, {AT_ONCE} at once"
MANY_UP_TO = 10_000
IN_THE_TRIGGERER = ("poll, few missing", "poll, all missing", MANY)
"""The first look is the worker's, where no loop waits; its loop column shows what it would do to one."""
MOST_MEMORY_MB, LONGEST_STOP_MS, FEWER_REQUESTS = 40, 50, 500


@dataclass(frozen=True, slots=True)
class Measured:
    """One look at all objects by one client. ``scaled``: measured with fewer and multiplied."""

    client: str
    objects: int
    requests: dict[str, int]
    wall: float
    cpu: float
    memory: float
    loop: float | None
    """ms; None where the client runs in a worker, which has no loop to hold up."""
    scaled: bool = False

    @property
    def total(self) -> int:
        return sum(self.requests.values())

    @property
    def price(self) -> float:
        return sum(PRICE.get(operation, PRICE_OF_OTHERS) * count for operation, count in self.requests.items())


_FIELDS = tuple(field.name for field in fields(Measured))
_HEADING = f"{'':31}{'objects':>9}{'requests':>10}{'s':>9}{'cpu s':>8}{'memory MB':>11}{'loop ms':>9}{'$':>11}"


def measure(sizes: tuple[int, ...] = SIZES, *, latency: float = LATENCY, folder: Path | None = None) -> dict[str, Any]:
    """All clients at all sizes. ``folder`` is where aiobotocore is installed; None: in a temporary one."""
    found: list[Measured] = []
    idle = 0.0

    def note(each: Measured) -> None:
        found.append(each)
        print(_line_of(each), flush=True)  # a million objects take a while

    print(f"one look; {_HEADING}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        aside = _aiobotocore(folder or Path(temporary))
        for objects in sizes:
            with _server(objects, latency) as url:
                few = min(objects, HEADS_MEASURED)
                note(_scaled(_run("S3KeySensor", few, url), objects))
                if aside and objects <= TRIGGER_UP_TO:
                    note(_run("S3KeyTrigger", objects, url, path=aside))
                for client in OURS:
                    note(_run(client, objects, url))
            polled = [("poll, few missing", MISSING), ("poll, all missing", objects)]
            for client, missing in polled + ([(MANY, objects)] if objects <= MANY_UP_TO else []):
                with _server(objects, latency, missing=missing) as url:
                    polls = [_run(client, objects, url) for _ in range(POLLS if objects <= MANY_POLLS_UP_TO else 1)]
                    note(max(polls, key=lambda poll: poll.loop or 0))
                    idle = max(idle, _run("idle loop", objects, url).loop or 0)
    return {
        "latency ms": 1000 * latency,
        "aiobotocore": aside is not None,
        "idle loop ms": idle,
        "measured": [asdict(each) | {"total": each.total, "price": each.price} for each in found],
        "targets": targets(found),
    }


def targets(found: list[Measured]) -> list[dict[str, Any]]:
    """What was aimed at, what was seen."""
    by_client = {client: {each.objects: each for each in found if each.client == client} for client in OURS}
    theirs = {each.objects: each for each in found if each.client == "S3KeySensor"}
    rows: list[tuple[str, float, float, bool]] = []
    for client, objects, each in (
        (client, objects, each) for client, runs in by_client.items() for objects, each in sorted(runs.items())
    ):
        name = f"{client}, {objects:,}"
        if objects >= 10_000:
            ratio = theirs[objects].total / each.total
            rows.append((f"{name}: fewer requests, ×", FEWER_REQUESTS, ratio, ratio >= FEWER_REQUESTS))
        if limit := SECONDS.get(objects):
            rows.append((f"{name}: s", limit, each.wall, each.wall <= limit))
        rows.append((f"{name}: memory, MB", MOST_MEMORY_MB, each.memory, each.memory <= MOST_MEMORY_MB))
    for each in found:
        if each.client in IN_THE_TRIGGERER and each.loop is not None:
            name = f"{each.client}, {each.objects:,}: loop stood still, ms"
            rows.append((name, LONGEST_STOP_MS, each.loop, each.loop <= LONGEST_STOP_MS))
    return [{"target": what, "aim": aim, "seen": seen, "met": met} for what, aim, seen, met in rows]


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    heading = f"all objects there? {report['latency ms']:.0f} ms per request"
    lines = [
        f"{heading}; S3KeySensor scaled up from {HEADS_MEASURED} keys",
        _HEADING,
        *(_line_of(Measured(**{name: each[name] for name in _FIELDS})) for each in report["measured"]),
    ]
    if not report["aiobotocore"]:
        lines.append(f"S3KeyTrigger: left out, {' and '.join(AIOBOTOCORE)} could not be installed aside")
    lines.append(f"a loop with nothing to do stood still for {report['idle loop ms']:.0f} ms on this machine meanwhile")
    lines.append("")
    for each in report["targets"]:
        met = "met" if each["met"] else "MISSED"
        lines.append(f"{each['target']:68} aim {each['aim']:>6g}  seen {each['seen']:>8.1f}  {met}")
    return "\n".join(lines)


def _line_of(each: Measured) -> str:
    loop = "" if each.loop is None else f"{each.loop:.0f}"
    return (
        f"{each.client:31}{each.objects:>9,}{each.total:>10,}{each.wall:>9.2f}{each.cpu:>8.2f}{each.memory:>11.0f}"
        f"{loop:>9}{each.price:>11.6f}{' scaled' if each.scaled else ''}"
    )


def _run(client: str, objects: int, url: str, *, path: Path | None = None) -> Measured:
    connection = {
        "conn_type": "aws",
        "login": "simulated",
        "password": "simulated",
        "extra": {"endpoint_url": url, "region_name": "us-east-1"},
    }
    environment = {
        **os.environ,
        f"AIRFLOW_CONN_{CONN_ID.upper()}": json.dumps(connection),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
    }
    if path is not None:
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(path), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "tests.bench.readiness_worker", client, str(objects)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        _line(process.stdout, "ready")
        _counts(url)
        process.stdin.write("\n")
        process.stdin.flush()
        seen = json.loads(_line(process.stdout, "{"))
    return Measured(
        client,
        objects,
        _counts(url),
        wall=seen["wall s"],
        cpu=seen["cpu s"],
        memory=seen["memory MB"],
        loop=None if client == "S3KeySensor" else seen["loop ms"],
    )


def _scaled(measured: Measured, objects: int) -> Measured:
    factor = objects / measured.objects
    return Measured(
        measured.client,
        objects,
        {operation: round(count * factor) for operation, count in measured.requests.items()},
        measured.wall * factor,
        measured.cpu * factor,
        measured.memory,
        None,
        scaled=factor != 1,
    )


def _line(lines: Any, beginning: str) -> str:
    for line in lines:
        if str(line).startswith(beginning):
            return str(line)
    raise RuntimeError("the measured process ended without an answer; its errors are above")


def _counts(url: str) -> dict[str, int]:
    with urllib.request.urlopen(f"{url}/_counts") as answer:
        counts: dict[str, int] = json.load(answer)
    return counts


@contextmanager
def _server(objects: int, latency: float, missing: int = 0) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.bench.s3_server", f"--objects={objects}", f"--latency={latency}"]
    with subprocess.Popen([*command, f"--missing={missing}"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


def _aiobotocore(folder: Path) -> Path | None:
    """Install it aside, once; None if that does not work."""
    target = folder / "aiobotocore"
    if not target.exists():
        command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--target", str(target), *AIOBOTOCORE]
        if subprocess.run(command, check=False).returncode:
            return None
    return target


if __name__ == "__main__":
    print(table(measure()))
