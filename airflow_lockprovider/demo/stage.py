"""Everything that the demo runs on, started in the right order and held by one supervisor."""

from __future__ import annotations

import os
import platform
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import Future
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from airflow_lockprovider.demo.airflow_environment import write_for_shell
from airflow_lockprovider.demo.airflow_services import AirflowServices
from airflow_lockprovider.demo.aws import AwsSimulator
from airflow_lockprovider.demo.console import Console
from airflow_lockprovider.demo.mail import MailSink
from airflow_lockprovider.demo.ports import LOOPBACK
from airflow_lockprovider.demo.postgres import EmbeddedPostgres
from airflow_lockprovider.demo.supervisor import Supervisor
from airflow_lockprovider.demo.world import World, warehouses

Result = TypeVar("Result")

REPLICATION_DELAY = 12.0
"""Seconds (half as much again at most) for which a copy between the regions is under way."""


class Stage:
    """A real Airflow, real Postgres databases, a simulated AWS and a mail sink, all in one folder and on 127.0.0.1.

    What an earlier run has left in ``folder`` is removed. ``supervisor`` ends everything.
    """

    def __init__(self, folder: Path, dags_folder: Path, supervisor: Supervisor, console: Console) -> None:
        self.folder, self._dags_folder = folder, dags_folder
        self._supervisor, self._console = supervisor, console
        self.aws: AwsSimulator
        self.mail: MailSink
        self.world: World
        self.airflow: AirflowServices
        self.metadata_dsn = ""

    def start(self, dag_ids: list[str]) -> None:
        """Returns when all parts are healthy and these Dags can be triggered."""
        say, held = self._console.say, self._supervisor.hold
        say("postgres", "starting a server of our own")
        postgres = held(EmbeddedPostgres(self.folder / "postgres"))
        self._supervisor.watch(postgres.ended)
        self.metadata_dsn = postgres.create_database("airflow")
        region1, region2 = postgres.create_database("dwh_region1"), postgres.create_database("dwh_region2")
        say("postgres", f"two warehouses and Airflow's metadata at {LOOPBACK}:{postgres.port}")
        self.mail = held(MailSink(self.folder / "mail"))
        say("mail", f"a mail server that keeps everything at {LOOPBACK}:{self.mail.port}")
        self.aws = held(
            AwsSimulator(
                warehouses=warehouses(region1, region2),
                replication_delay=REPLICATION_DELAY,
                replication_jitter=REPLICATION_DELAY / 2,
            )
        )
        say("aws", f"simulated S3, Glue, Redshift, EventBridge and SQS at {self.aws.endpoint_url}")
        self.world = World(self.aws.endpoint_url, region1, region2, self.mail.port)
        self.airflow = AirflowServices(
            self.folder / "airflow",
            self._dags_folder,
            self.metadata_dsn,
            self._supervisor,
            extra_env=self.world.connections(),
        )
        world = _beside(self._build_world)  # two cores: one makes the world, the other Airflow's tables
        say("airflow", "making its metadata tables")
        self.airflow.migrate()
        world.result()
        say("airflow", f"starting api-server, scheduler, dag-processor and triggerer at {self.airflow.url}")
        write_for_shell(self.environment_file, self.airflow.env)
        self.airflow.start()
        self.airflow.wait_until_healthy(dag_ids, say=lambda text: say("airflow", text))
        say("airflow", "all parts are healthy, all Dags are there")

    @property
    def environment_file(self) -> Path:
        """To be read by a shell that wants to speak to this Airflow."""
        return self.folder / "environment"

    def wait(self, seconds: float) -> None:
        """Let time pass. Raises ProcessEndedError when one of the parts has died."""
        self._supervisor.wait(seconds)

    def setting(self) -> dict[str, Any]:
        """What the demo ran on, for the report."""
        return {
            "airflow": version("apache-airflow"),
            "airflow-lockprovider": version("airflow-lockprovider"),
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            "replication delay in seconds": [REPLICATION_DELAY, REPLICATION_DELAY * 1.5],
        }

    def _build_world(self) -> None:
        self.world.build()
        self._console.say("aws", "336,776 flights of 2013 lie in S3 as one CSV per month; the lock tables are made")


def empty(folder: Path) -> None:
    """Remove what an earlier run has left."""
    for name in ("postgres", "airflow", "mail", "logs"):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in ("report.json", "environment"):
        (folder / name).unlink(missing_ok=True)


def _beside(work: Callable[[], Result]) -> Future[Result]:
    """Run ``work`` in a daemon thread, which does not hold up the end of the process as an executor's would."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="world", daemon=True).start()
    return future
