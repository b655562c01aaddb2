from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from airflow.sdk._shared.module_loading import import_string
from airflow.sdk.exceptions import AirflowRescheduleException
from airflow.sdk.serde import deserialize, serialize
from airflow.triggers.base import BaseTrigger

from airflow_lockprovider.lease.errors import ConfigurationError, LockProviderError
from airflow_lockprovider.readiness.errors import DataWillNotArrive, ReadinessMisconfigured
from airflow_lockprovider.readiness.plan import Endpoint, ProbePlan
from airflow_lockprovider.readiness.window import MAX_STATE_CHARS
from airflow_lockprovider.sensors import GlueCrawlSensor, S3ReplicationSensor
from airflow_lockprovider.sensors import readiness as sensor_module
from airflow_lockprovider.triggers import readiness as trigger_module
from airflow_lockprovider.triggers import settle


class S3Pair:
    """Source and replica in memory, answering in the shape of boto3. Only what one look needs."""

    def __init__(self) -> None:
        self.source: dict[str, str | None] = {}
        self.replica: set[str] = set()
        self.pause = 0.0
        self.error: Exception | None = None
        self.listed = 0

    def client(self, side: str) -> Any:
        return SimpleNamespace(
            list_objects_v2=lambda **asked: self._list(side, asked.get("StartAfter", "")),
            head_object=lambda **asked: self._head(side, asked["Key"]),
            get_bucket_versioning=lambda **_: {"Status": "Enabled"},
            get_bucket_encryption=lambda **_: {"ServerSideEncryptionConfiguration": {"Rules": []}},
            get_bucket_replication=lambda **_: {
                "ReplicationConfiguration": {
                    "Rules": [{"Status": "Enabled", "Destination": {"Bucket": "arn:aws:s3:::replica"}}]
                }
            },
        )

    def arrive(self) -> None:
        self.replica = set(self.source)
        self.source = dict.fromkeys(self.source, "COMPLETED")

    def _list(self, side: str, after: str) -> dict[str, Any]:
        self.listed += 1
        if self.pause:
            time.sleep(self.pause)
        if self.error:
            raise self.error
        keys = sorted(self.source if side == "source" else self.replica)
        now = datetime.now(UTC)
        return {
            "Contents": [{"Key": key, "Size": 1, "ETag": '"e"', "LastModified": now} for key in keys if key > after]
        }

    def _head(self, side: str, key: str) -> dict[str, Any]:
        if key not in (self.source if side == "source" else self.replica):
            error = Exception("not found")
            error.response = {"ResponseMetadata": {"HTTPStatusCode": 404}}  # type: ignore[attr-defined]
            raise error
        return {"ContentLength": 1, "ReplicationStatus": self.source.get(key)}


class Crawler:
    """A crawler whose crawls end when the test says so."""

    def __init__(self) -> None:
        self.starts: list[datetime] = []
        self.running = False

    def client(self, _: str) -> Any:
        return SimpleNamespace(get_crawler=self._get, start_crawler=self._start)

    def _get(self, **_: Any) -> dict[str, Any]:
        ended = self.starts[: len(self.starts) - self.running]
        last = {"LastCrawl": {"Status": "SUCCEEDED", "StartTime": ended[-1]}} if ended else {}
        return {"Crawler": {"State": "RUNNING" if self.running else "READY", **last}}

    def _start(self, **_: Any) -> dict[str, Any]:
        assert not self.running
        self.running = True
        self.starts.append(datetime.now(UTC))
        return {}


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    def install(world: Any) -> None:
        def client_of(endpoint: Endpoint, *_: Any, **__: Any) -> Any:
            return world.client({"eu-west-1": "replica"}.get(endpoint.region or "", "source"))

        async def connect(plan: ProbePlan, **_: Any) -> dict[str, Any]:
            return {name: client_of(endpoint) for name, endpoint in plan.endpoints.items()}

        monkeypatch.setattr(sensor_module, "client_of", client_of)
        monkeypatch.setattr(trigger_module, "connect", connect)

    return install


@pytest.fixture
def s3(serve: Callable[[Any], None]) -> S3Pair:
    world = S3Pair()
    serve(world)
    world.source = dict.fromkeys(["a", "b"], "PENDING")
    return world


@pytest.fixture
def crawler(serve: Callable[[Any], None]) -> Crawler:
    world = Crawler()
    serve(world)
    return world


def replication(**settings: Any) -> S3ReplicationSensor:
    return S3ReplicationSensor(
        **{
            "task_id": "wait",
            "source_bucket": "lake",
            "destination_bucket": "replica",
            "destination_region": "eu-west-1",
            "poke_interval": 0.01,
            "timeout": 60,
            **settings,
        }
    )


def crawl(**settings: Any) -> GlueCrawlSensor:
    return GlueCrawlSensor(**{"task_id": "crawl", "crawler_name": "sales", "poke_interval": 0.01, **settings})


def context(**more: Any) -> Any:
    return {"ti": SimpleNamespace(id="try-1", get_first_reschedule_date=lambda _: None), **more}


def deferred_by(call: Callable[[], Any]) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as raised:
        call()
    return raised.value


@pytest.fixture(autouse=True)
def _settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "settle_time", lambda: 0.0)


def rebuilt(trigger: BaseTrigger) -> Any:
    """The trigger as a triggerer makes it, from its serialised form alone."""
    path, arguments = trigger.serialize()
    return import_string(path)(**deserialize(serialize(arguments)))


def first_event(trigger: Any) -> dict[str, Any]:
    async def first() -> Any:
        return await anext(trigger.run())

    payload = asyncio.run(first()).payload
    return deserialize(serialize(payload))


def finish(sensor: Any, deferred: TaskDeferred) -> Any:
    event = first_event(rebuilt(deferred.trigger))
    return sensor.resume_execution(deferred.method_name, {"event": event}, context())


# -- deferrable


def test_data_that_is_there_already_costs_no_deferral(s3: S3Pair) -> None:
    s3.arrive()
    verdict = replication().execute(context())
    assert (verdict["status"], verdict["arrived"], verdict["expected"]) == ("READY", 2, 2)


def test_waits_in_the_triggerer_and_returns_the_verdict(s3: S3Pair) -> None:
    sensor = replication()
    deferred = deferred_by(lambda: sensor.execute(context()))
    s3.arrive()
    verdict = finish(sensor, deferred)
    assert (verdict["status"], verdict["arrived"]) == ("READY", 2)


def test_a_restarted_triggerer_waits_for_the_same_set(s3: S3Pair) -> None:
    deferred = deferred_by(lambda: replication().execute(context()))

    async def restart_midway() -> dict[str, Any]:
        running = asyncio.create_task(anext(rebuilt(deferred.trigger).run()))
        await asyncio.sleep(0.1)
        running.cancel()
        s3.arrive()
        s3.source["c"] = "PENDING"  # written after the freeze: nobody waits for it
        return (await anext(rebuilt(deferred.trigger).run())).payload

    event = asyncio.run(restart_midway())
    assert (event["outcome"], event["verdict"]["expected"]) == ("verdict", 2)
    assert event["verdict"]["status"] == "READY"


def test_a_failed_copy_fails_the_task(s3: S3Pair) -> None:
    sensor = replication()
    deferred = deferred_by(lambda: sensor.execute(context()))
    s3.source["b"] = "FAILED"
    with pytest.raises(DataWillNotArrive, match=r"FAILED for 1 object \(b\)"):
        finish(sensor, deferred)


def test_a_missing_rule_fails_before_any_deferral(s3: S3Pair) -> None:
    with pytest.raises(ReadinessMisconfigured, match="no replication rule has the destination other"):
        replication(destination_bucket="other").execute(context())


def test_soft_fail_skips_in_the_worker_and_after_the_trigger(s3: S3Pair) -> None:
    sensor = replication(soft_fail=True)
    deferred = deferred_by(lambda: sensor.execute(context()))
    s3.source["b"] = "FAILED"
    with pytest.raises(AirflowSkipException, match="FAILED for 1 object"):
        finish(sensor, deferred)
    s3.source.clear()
    with pytest.raises(AirflowSkipException, match="holds 0 objects"):
        sensor.execute(context())


def test_the_timeout_names_the_oldest_missing_key(s3: S3Pair) -> None:
    sensor = replication(timeout=0.1)
    deferred = deferred_by(lambda: sensor.execute(context()))
    with pytest.raises(AirflowSensorTimeout, match=r"0/2 arrived, 2 pending.*the oldest missing is a"):
        finish(sensor, deferred)


def test_the_timeout_with_soft_fail_skips(s3: S3Pair) -> None:
    sensor = replication(timeout=0.1, soft_fail=True)
    deferred = deferred_by(lambda: sensor.execute(context()))
    with pytest.raises(AirflowSkipException):
        finish(sensor, deferred)


def test_airflows_own_limit_comes_after_ours(s3: S3Pair) -> None:
    sensor = replication(timeout=60)
    deferred = deferred_by(lambda: sensor.execute(context()))
    assert deferred.timeout is not None
    assert timedelta(seconds=60) < deferred.timeout <= timedelta(minutes=3)
    with pytest.raises(AirflowSensorTimeout):
        sensor.resume_execution("__fail__", {"error": "Trigger timeout"}, context())


def test_a_broken_trigger_fails_the_task_with_its_reason(s3: S3Pair) -> None:
    sensor = replication()
    deferred = deferred_by(lambda: sensor.execute(context()))
    s3.error = KeyError("a bug")
    with pytest.raises(LockProviderError, match="KeyError: 'a bug'"):
        finish(sensor, deferred)


def test_network_errors_in_the_triggerer_are_waited_out(s3: S3Pair) -> None:
    deferred = deferred_by(lambda: replication().execute(context()))
    s3.error = ConnectionResetError("gone")

    async def heal() -> dict[str, Any]:
        running = asyncio.create_task(anext(rebuilt(deferred.trigger).run()))
        await asyncio.sleep(0.03)
        s3.error = None
        s3.arrive()
        return (await running).payload

    assert asyncio.run(heal())["verdict"]["status"] == "READY"


def test_a_network_error_in_the_worker_is_tried_again_there(s3: S3Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.error = ConnectionResetError("gone")
    monkeypatch.setattr(sensor_module.time, "sleep", lambda _: setattr(s3, "error", None))
    deferred_by(lambda: replication().execute(context()))


def test_no_event_leaves_before_the_settle_time(s3: S3Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "settle_time", lambda: 0.3)
    deferred = deferred_by(lambda: replication().execute(context()))
    s3.arrive()
    started = time.monotonic()
    first_event(rebuilt(deferred.trigger))
    assert time.monotonic() - started >= 0.3


def test_a_slow_answer_does_not_block_the_loop(s3: S3Pair) -> None:
    deferred = deferred_by(lambda: replication().execute(context()))
    s3.arrive()
    s3.pause = 0.5

    async def tick_beside_it() -> float:
        worst, running = 0.0, asyncio.create_task(anext(rebuilt(deferred.trigger).run()))
        while not running.done():
            before = time.monotonic()
            await asyncio.sleep(0.005)
            worst = max(worst, time.monotonic() - before)
        return worst

    assert asyncio.run(tick_beside_it()) < 0.25


def test_requests_are_made_outside_the_loops_thread(s3: S3Pair) -> None:
    deferred = deferred_by(lambda: replication().execute(context()))
    s3.arrive()
    threads = set()
    listing = s3._list
    s3._list = lambda *asked: (threads.add(threading.get_ident()), listing(*asked))[1]  # type: ignore[method-assign]
    first_event(rebuilt(deferred.trigger))
    assert threads
    assert threading.get_ident() not in threads


def test_the_state_of_any_set_fits_into_the_triggers_row() -> None:
    # Fernet makes a third more of it, and MySQL's TEXT ends at 64 kB.
    assert MAX_STATE_CHARS * 4 / 3 + 2000 < 65_535


# -- crawls


def test_the_worker_starts_the_crawl_and_the_trigger_only_waits(crawler: Crawler) -> None:
    sensor = crawl()
    deferred = deferred_by(lambda: sensor.execute(context()))
    assert len(crawler.starts) == 1
    crawler.running = False
    assert finish(sensor, deferred)["status"] == "READY"
    assert len(crawler.starts) == 1


def test_a_running_crawl_is_waited_for_in_the_triggerer_and_ours_started_by_a_worker(crawler: Crawler) -> None:
    crawler.starts.append(datetime.now(UTC) - timedelta(minutes=5))
    crawler.running = True
    sensor = crawl()
    first = deferred_by(lambda: sensor.execute(context()))
    crawler.running = False
    event = first_event(rebuilt(first.trigger))
    assert event["outcome"] == "begin"
    assert len(crawler.starts) == 1  # the trigger has started nothing
    second = deferred_by(lambda: sensor.resume_execution(first.method_name, {"event": event}, context()))
    assert len(crawler.starts) == 2
    assert second.trigger.serialize()[1]["deadline"] == first.trigger.serialize()[1]["deadline"]
    crawler.running = False
    assert finish(sensor, second)["status"] == "READY"


def test_a_datetime_survives_the_way_to_the_triggerer(crawler: Crawler) -> None:
    moment = datetime.now(UTC)
    sensor = crawl(start=False, after=moment)
    deferred = deferred_by(lambda: sensor.execute(context()))
    crawler.starts.append(moment + timedelta(seconds=1))
    assert finish(sensor, deferred)["status"] == "READY"


# -- poke and reschedule


def test_poke_mode_waits_in_the_worker(s3: S3Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = []
    sensor = replication(deferrable=False, poke_interval=(4, 9))
    ours, really = threading.get_ident(), time.sleep

    def sleep(seconds: float) -> None:
        if threading.get_ident() != ours:  # there is one time.sleep for the whole process
            return really(seconds)
        pauses.append(seconds)
        if len(pauses) == 4:
            s3.arrive()
        return None

    monkeypatch.setattr("airflow.sdk.bases.sensor.time.sleep", sleep)
    assert sensor.execute(context())["status"] == "READY"
    assert pauses == [4, 6, 9, 9]


def test_poke_mode_raises_the_same_errors(s3: S3Pair) -> None:
    s3.source["b"] = "FAILED"
    with pytest.raises(DataWillNotArrive, match=r"\(b\)"):
        replication(deferrable=False).execute(context())
    with pytest.raises(AirflowSkipException, match=r"\(b\)"):
        replication(deferrable=False, soft_fail=True).execute(context())


def test_poke_mode_names_what_is_missing_at_the_timeout(s3: S3Pair) -> None:
    with pytest.raises(AirflowSensorTimeout, match=r"0/2 arrived.*the oldest missing is a"):
        replication(deferrable=False, timeout=0.05).execute(context())


class Store(dict[str, Any]):
    """The task state store, which lets JSON through only."""

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))


def poke_once(sensor: Any, store: Store, *, ti_id: str = "try-1") -> Any:
    """One poke in a process of its own: a new sensor object, the same store."""
    given = context(task_state_store=store)
    given["ti"].id = ti_id
    return sensor.execute(given)


def test_reschedule_mode_keeps_the_frozen_set_between_pokes(s3: S3Pair) -> None:
    store = Store()
    for _ in range(3):
        with pytest.raises(AirflowRescheduleException):
            poke_once(replication(mode="reschedule"), store)
        s3.source["c"] = "PENDING"  # written after the freeze
    s3.arrive()
    assert poke_once(replication(mode="reschedule"), store)["expected"] == 2


def test_reschedule_mode_begins_anew_with_the_next_try(s3: S3Pair) -> None:
    store = Store()
    with pytest.raises(AirflowRescheduleException):
        poke_once(replication(mode="reschedule"), store)
    s3.source["c"] = "PENDING"
    s3.arrive()
    assert poke_once(replication(mode="reschedule"), store, ti_id="try-2")["expected"] == 3


def test_reschedule_mode_starts_one_crawl(crawler: Crawler) -> None:
    store = Store()
    for _ in range(3):
        with pytest.raises(AirflowRescheduleException):
            poke_once(crawl(mode="reschedule"), store)
    crawler.running = False
    assert poke_once(crawl(mode="reschedule"), store)["status"] == "READY"
    assert len(crawler.starts) == 1


def test_reschedule_mode_slows_down_over_processes(s3: S3Pair) -> None:
    store, pauses = Store(), []
    for _ in range(4):
        with pytest.raises(AirflowRescheduleException) as raised:
            poke_once(replication(mode="reschedule", poke_interval=(100, 300)), store)
        pauses.append((raised.value.reschedule_date - datetime.now(UTC)).total_seconds())
    assert pauses == pytest.approx([100, 150, 225, 300], abs=2)


def test_reschedule_mode_without_a_state_store_is_refused_with_the_alternative(s3: S3Pair) -> None:
    with pytest.raises(ConfigurationError, match="use deferrable=True"):
        replication(mode="reschedule").execute(context())


# -- the parse


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"source_bucket": "s3://lake"}, "without s3://"),
        ({"destination_bucket": ""}, "destination_bucket"),
        ({"destination_bucket": "lake"}, "both 'lake'"),
        ({"min_objects": -1}, "min_objects=-1"),
        ({"on_source_change": "look away"}, "on_source_change='look away'"),
        ({"identity": ("key", "md5")}, "identity="),
        ({"on_empty": "skip"}, "on_empty='skip'"),
        ({"manifest": "m.json", "on_source_change": "refreeze"}, "cannot be had with a manifest"),
        ({"source_bucket": "lake--use1-az4--x-s3"}, "directory bucket"),
        ({"stall_after": "soon"}, "stall_after='soon'"),
        ({"poke_interval": (60, 5)}, "poke_interval"),
        ({"max_transient_errors": 0}, "max_transient_errors"),
    ],
)
def test_replication_settings_are_checked_when_the_dag_is_parsed(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        replication(**settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"crawler_name": ""}, "crawler_name"),
        ({"start": False}, "which crawl is meant"),
        ({"after": "2026-01-31"}, "start=False"),
        ({"start": False, "after": datetime(2026, 1, 31)}, "time zone"),  # noqa: DTZ001
        ({"on_running": "kill"}, "on_running='kill'"),
        ({"start_timeout": 0}, "start_timeout=0"),
    ],
)
def test_crawl_settings_are_checked_when_the_dag_is_parsed(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        crawl(**settings)


def test_templates_are_let_through_and_rendered() -> None:
    sensor = replication(source_bucket="{{ params.b }}", destination_bucket="{{ params.b }}-copy", prefix="{{ ds }}/")
    sensor.render_template_fields({"params": {"b": "lake"}, "ds": "2026-01-31"})  # type: ignore[typeddict-item]
    settings = sensor._plan().settings
    assert (settings["source_bucket"], settings["destination_bucket"]) == ("lake", "lake-copy")
    assert settings["prefix"] == "2026-01-31/"


def test_one_connection_serves_both_sides_unless_two_are_given() -> None:
    one = replication(source_conn_id="a")._plan().endpoints
    two = replication(source_conn_id="a", destination_conn_id="b")._plan().endpoints
    assert [one["source"].conn_id, one["destination"].conn_id] == ["a", "a"]
    assert [two["source"].conn_id, two["destination"].conn_id] == ["a", "b"]


@pytest.mark.parametrize(
    ("settings", "deferrable"),
    [({}, True), ({"mode": "reschedule"}, False), ({"deferrable": False}, False), ({"deferrable": True}, True)],
)
def test_defers_unless_told_otherwise(settings: dict[str, Any], deferrable: bool) -> None:
    assert replication(**settings).deferrable is deferrable


def test_importing_the_package_imports_neither_airflow_nor_boto() -> None:
    code = (
        "import sys, airflow_lockprovider.sensors; "
        "print([name for name in ('airflow', 'boto3', 'botocore') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_importing_a_sensor_does_not_import_boto() -> None:
    code = (
        "import sys; from airflow_lockprovider.sensors import S3ReplicationSensor, GlueCrawlSensor; "
        "print('boto3' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip().splitlines()[-1] == "False"


def test_unknown_names_are_attribute_errors() -> None:
    import airflow_lockprovider.sensors as package

    with pytest.raises(AttributeError, match="NoSuchSensor"):
        _ = package.NoSuchSensor  # type: ignore[attr-defined]


def test_a_dag_with_both_sensors_serialises_the_same_every_time() -> None:
    from airflow.sdk import DAG
    from airflow.serialization.serialized_objects import DagSerialization

    def parsed() -> Any:
        with DAG("d", schedule=None) as dag:
            replication(poke_interval=(5, 60), stall_after="10 mins")
            crawl(start=False, after=datetime(2026, 1, 31, tzinfo=UTC), start_timeout=timedelta(minutes=2))
            S3ReplicationSensor.partial(
                task_id="each", source_bucket="lake", destination_bucket="replica", poke_interval=(5, 60)
            ).expand(prefix=["a/", "b/"])
        return DagSerialization.to_dict(dag)

    first = parsed()
    assert first == parsed()
    assert json.dumps(first)
    assert DagSerialization.from_dict(first).task_ids == ["wait", "crawl", "each"]


def test_a_mapped_sensor_is_checked_and_built_like_any_other() -> None:
    mapped = S3ReplicationSensor.partial(
        task_id="each", source_bucket="lake", destination_bucket="replica", poke_interval=(5, 60)
    ).expand(prefix=["a/"])
    sensor = mapped.unmap({"prefix": "a/"})
    assert (sensor.prefix, sensor.poke_interval, sensor.longest_poke_interval) == ("a/", 5, 60)
