"""One client, measured in a process of its own: ``python -m tests.bench.readiness_worker CLIENT OBJECTS``.

Prints JSON: wall and processor seconds, growth of the peak memory in MB, the longest time in ms for which the event
loop beside it stood still. The connection ``aws_bench`` comes from the environment.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.bench.s3_server import BUCKETS, MANIFEST, PREFIX, key

CONN_ID = "aws_bench"
_TICK = 0.002
AT_ONCE = 8
"""Sensors in one triggerer."""
_KB_PER_MB = 1024

Work = Callable[[], Awaitable[Any]]


def s3_key_sensor(objects: int) -> Work:
    """The provider's sensor in a worker: every key asked for, one after the other."""
    from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor

    keys = [key(number) for number in range(objects)]
    sensor = S3KeySensor(task_id="wait", bucket_name=BUCKETS[1], bucket_key=keys, aws_conn_id=CONN_ID)
    sensor.hook.head_object(keys[0], BUCKETS[1])

    async def work() -> None:
        assert sensor.poke({}), "the provider's sensor missed something"  # type: ignore[typeddict-item]

    return work


def s3_key_trigger(objects: int) -> Work:
    """The same with ``deferrable=True``: its trigger, which needs aiobotocore."""
    from airflow.providers.amazon.aws.triggers.s3 import S3KeyTrigger

    keys = [key(number) for number in range(objects)]
    trigger: Any = S3KeyTrigger(bucket_name=BUCKETS[1], bucket_key=keys, aws_conn_id=CONN_ID, wildcard_match=False)

    async def work() -> None:
        event = await anext(trigger.run())
        assert event.payload == {"status": "success"}, event

    return work


def s3_replication_sensor(objects: int) -> Work:
    """Ours, the first look, which freezes the set: as the worker does it, here in a thread beside a loop."""
    return _first_look(_replication())


def s3_replication_sensor_with_a_manifest(objects: int) -> Work:
    """The same when the writer says what to wait for, so that nobody has to list the source."""
    return _first_look(_replication(manifest=MANIFEST))


def s3_manifest_sensor(objects: int) -> Work:
    """Ours, from the writer's manifest."""
    from airflow_lockprovider.sensors import S3ManifestSensor

    return _first_look(S3ManifestSensor(task_id="wait", bucket=BUCKETS[1], manifest=MANIFEST, aws_conn_id=CONN_ID))


def nothing(objects: int) -> Work:
    """A thread that sleeps: what this machine does to a loop by itself."""
    from airflow_lockprovider.triggers.clients import in_thread

    async def work() -> None:
        await in_thread(time.sleep, 2)

    return work


def later_poll(objects: int) -> Work:
    """Ours, as the trigger does it: a new process goes on from the state, with what the server says is missing."""
    from airflow_lockprovider.triggers.clients import client_of, in_thread

    plan = _replication()._plan()
    clients = {name: client_of(endpoint) for name, endpoint in plan.endpoints.items()}
    first = plan.probe(clients)
    began = first.begin()
    assert began.pending, began
    trigger = plan.probe(clients, first.state())
    trigger.step()  # it lists what a new process does not know

    async def work() -> None:
        verdict = await in_thread(trigger.step)
        assert (verdict.expected, verdict.pending) == (objects, began.pending), verdict

    return work


def later_polls(objects: int) -> Work:
    """Several sensors in one triggerer that poll at the same moment."""
    works = [later_poll(objects) for _ in range(AT_ONCE)]

    async def work() -> None:
        await asyncio.gather(*(one() for one in works))

    return work


def _replication(**more: Any) -> Any:
    from airflow_lockprovider.sensors import S3ReplicationSensor

    return S3ReplicationSensor(
        task_id="wait",
        source_bucket=BUCKETS[0],
        destination_bucket=BUCKETS[1],
        prefix=PREFIX,
        source_conn_id=CONN_ID,
        poke_interval=1,
        **more,
    )


def _first_look(sensor: Any) -> Work:
    from airflow_lockprovider.triggers.clients import client_of, in_thread

    plan = sensor._plan()
    clients = {name: client_of(endpoint) for name, endpoint in plan.endpoints.items()}
    for client in clients.values():
        client.get_bucket_versioning(Bucket=BUCKETS[0])  # what botocore loads at its first request is no growth
    probe = plan.probe(clients)

    async def work() -> None:
        verdict = await in_thread(probe.begin)
        assert verdict.status == "READY", verdict

    return work


CLIENTS: dict[str, Callable[[int], Work]] = {
    "S3KeySensor": s3_key_sensor,
    "S3KeyTrigger": s3_key_trigger,
    "S3ReplicationSensor": s3_replication_sensor,
    "S3ReplicationSensor, manifest": s3_replication_sensor_with_a_manifest,
    "S3ManifestSensor": s3_manifest_sensor,
    "poll, few missing": later_poll,
    "poll, all missing": later_poll,
    f"poll, all missing, {AT_ONCE} at once": later_polls,
    "idle loop": nothing,
}


async def measure(work: Work) -> dict[str, float]:
    """Run it once, beside a coroutine that only wants to run every 2 ms."""
    lags: list[float] = []

    async def watch() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(_TICK)
            lags.append(time.perf_counter() - before - _TICK)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0.05)
    lags.clear()
    _forget_peak()
    memory, wall, processor = _status_kb("VmRSS"), time.perf_counter(), time.process_time()
    await work()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    peak = _status_kb("VmHWM")
    await asyncio.sleep(2 * _TICK)  # a loop that stood still until now says so only when it runs again
    watching.cancel()
    return {
        "wall s": wall,
        "cpu s": processor,
        "memory MB": (peak - memory) / _KB_PER_MB,
        "loop ms": 1000 * max(lags, default=wall),
    }


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _status_kb(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise LookupError(name)


def main() -> None:
    client, objects = sys.argv[1], int(sys.argv[2])
    work = CLIENTS[client](objects)
    print("ready", flush=True)
    sys.stdin.readline()  # the server's counts begin here
    print(json.dumps(asyncio.run(measure(work))), flush=True)


if __name__ == "__main__":
    main()
