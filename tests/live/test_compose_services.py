"""The commands of docker-compose.yaml, with its environment, as processes of this machine: there is no Docker here.

What stands for a host becomes an address of this machine, the folder of the image a folder of the test; all the rest
is as it is written. Not started: Grafana and the mail server, of which only images exist.

The profile "celery" takes part where what the image installs is there (the last line of deploy/Dockerfile, in a virtual
environment), and a redis-server: LOCKPROVIDER_IMAGE_BIN=…/bin names the folder of its programs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from airflow_lockprovider.demo.airflow_client import AirflowApiError, AirflowClient
from airflow_lockprovider.demo.ports import free_port
from airflow_lockprovider.demo.postgres import EmbeddedPostgres
from airflow_lockprovider.demo.postgres_binaries import candidate_folders
from airflow_lockprovider.demo.supervisor import Supervisor
from airflow_lockprovider.grafana import dashboard
from deploy.make_env import environment
from tests.compose.compose_file import REPOSITORY, filled, variables_of
from tests.integration.grafana_sql import Looking

pytestmark = [pytest.mark.live, pytest.mark.deep]

PROGRAMS = Path(os.environ.get("LOCKPROVIDER_IMAGE_BIN", Path(sys.executable).parent))
CELERY = (PROGRAMS / "celery").exists() and shutil.which("redis-server") is not None
PARTS = ("api-server", "dag-processor", "scheduler", "triggerer", *(("redis", "worker") if CELERY else ()))


@dataclass
class Machine:
    """Addresses and folders that take the place of the containers'."""

    folder: Path
    places: dict[str, str]
    services: dict[str, dict[str, Any]]

    def text(self, text: str) -> str:
        for theirs, ours in self.places.items():
            text = text.replace(theirs, ours)
        return text

    def command(self, words: list[str]) -> list[str]:
        return [self.text(word) for word in words]

    def environment(self, service: str) -> dict[str, str]:
        """Of the image and the service, and of nothing else; what would listen on every interface does not."""
        written = {name: self.text(value) for name, value in self.services[service]["environment"].items()}
        return {
            "PATH": os.pathsep.join([str(PROGRAMS), os.environ["PATH"]]),
            "HOME": str(self.folder),
            "PYTHONPATH": str(REPOSITORY),
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": self.places["127.0.0.1:8080"].split(":")[1],
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_HOST": "127.0.0.1",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": self.places["127.0.0.1:8974"].split(":")[1],
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",
            **written,
        }


@pytest.fixture(scope="module")
def secrets() -> dict[str, str]:
    return variables_of(environment())


@pytest.fixture(scope="module")
def machine(secrets: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """All that `docker compose up` starts, for as far as it is there."""
    folder = tmp_path_factory.mktemp("compose")
    compose = filled(secrets | ({"AIRFLOW_EXECUTOR": "CeleryExecutor"} if CELERY else {}))
    with EmbeddedPostgres(folder / "one") as one, EmbeddedPostgres(folder / "two") as two:
        for service, server in (("postgres", one), ("warehouse-1", one), ("warehouse-2", two)):
            _make_database(server, compose["services"][service]["environment"])
        ports = [free_port() for _ in range(4)]
        places = {
            "@postgres:5432": f"@127.0.0.1:{one.port}",
            "@warehouse-1:5432": f"@127.0.0.1:{one.port}",
            "@warehouse-2:5432": f"@127.0.0.1:{two.port}",
            "aws:5555": f"localhost:{ports[0]}",  # by a name, as there: buckets must not become names of hosts
            "127.0.0.1:5555": f"127.0.0.1:{ports[0]}",
            "5555": str(ports[0]),
            "0.0.0.0": "127.0.0.1",
            "api-server:8080": f"127.0.0.1:{ports[1]}",
            "127.0.0.1:8080": f"127.0.0.1:{ports[1]}",
            "localhost:8080": f"localhost:{ports[1]}",
            "127.0.0.1:8974": f"127.0.0.1:{ports[2]}",
            "redis:6379": f"127.0.0.1:{ports[3]}",
            "redis-server": f"redis-server --bind 127.0.0.1 --port {ports[3]}",
            "redis-cli": f"redis-cli -p {ports[3]}",
            "/opt/airflow/dags": str(REPOSITORY / "dags"),
            "/opt/airflow": str(folder / "airflow"),
            "/opt/deploy": str(REPOSITORY / "deploy"),
        }
        (folder / "airflow").mkdir()
        made = Machine(folder, places, compose["services"])
        with Supervisor(folder / "logs") as supervisor:

            def start(name: str, run: Any = supervisor.start) -> None:
                run(name, made.command(made.services[name]["command"]), env=made.environment(name), cwd=folder)

            if CELERY:
                start("redis")
            start("aws")
            _wait_for(made, "aws", supervisor)
            start("init", supervisor.run)
            for part in PARTS:
                if part != "redis":
                    start(part)
            _wait_for(made, "api-server", supervisor)
            yield made


def _make_database(server: EmbeddedPostgres, settings: dict[str, str]) -> None:
    """What the image of Postgres makes of its variables, and of the script that is mounted."""
    user, name = settings["POSTGRES_USER"], settings["POSTGRES_DB"]
    server.create_database(name)
    with psycopg.connect(server.dsn(), autocommit=True) as admin:
        admin.execute(
            sql.SQL("create role {} superuser login password {}").format(
                sql.Identifier(user), sql.Literal(settings["POSTGRES_PASSWORD"])
            )
        )
        admin.execute(sql.SQL("alter database {} owner to {}").format(sql.Identifier(name), sql.Identifier(user)))
    if "GRAFANA_READER_PASSWORD" in settings:
        programs = next(folder for folder in candidate_folders() if (folder / "psql").exists())
        subprocess.run(
            ["sh", REPOSITORY / "deploy" / "warehouse" / "grafana_reader.sh"],
            env={
                "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
                "PGHOST": "127.0.0.1",
                "PGPORT": str(server.port),
                "PGPASSWORD": settings["POSTGRES_PASSWORD"],
                **settings,
            },
            check=True,
        )


def _is_healthy(machine: Machine, service: str) -> bool:
    """What its health check says."""
    kind, *words = machine.services[service]["healthcheck"]["test"]
    words = ["sh", "-c", *words] if kind == "CMD-SHELL" else words
    asked = subprocess.run(
        machine.command(words), env=machine.environment(service), cwd=machine.folder, capture_output=True, check=False
    )
    return asked.returncode == 0


def _wait_for(machine: Machine, service: str, supervisor: Supervisor | None = None, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not _is_healthy(machine, service):
        assert time.monotonic() < deadline, f"{service} is not healthy after {seconds} s"
        if supervisor:
            supervisor.check()
        time.sleep(1)


@pytest.fixture(scope="module")
def airflow(machine: Machine, secrets: dict[str, str]) -> AirflowClient:
    return AirflowClient(f"http://{machine.places['127.0.0.1:8080']}", "admin", secrets["ADMIN_PASSWORD"])


@pytest.mark.parametrize("service", ["aws", *PARTS])
def test_each_health_check_becomes_good(machine: Machine, service: str) -> None:
    _wait_for(machine, service)


def test_the_viewer_has_a_login_and_a_wrong_password_has_none(
    airflow: AirflowClient, secrets: dict[str, str], machine: Machine
) -> None:
    AirflowClient(airflow.url, "viewer", secrets["VIEWER_PASSWORD"]).dag_ids()
    with pytest.raises(AirflowApiError):
        AirflowClient(airflow.url, "admin", "admin").dag_ids()


def test_the_main_job_of_region_1_runs_and_grafanas_user_sees_it(
    machine: Machine, airflow: AirflowClient, secrets: dict[str, str]
) -> None:
    deadline = time.monotonic() + 240
    while "flights_region1" not in airflow.dag_ids():
        assert airflow.import_errors() == []
        assert time.monotonic() < deadline
        time.sleep(1)
    airflow.set_paused("flights_region1", False)
    run = airflow.trigger("flights_region1")
    while (state := airflow.run("flights_region1", run)["state"]) not in ("success", "failed"):
        assert time.monotonic() < deadline, airflow.task_states("flights_region1", run)
        time.sleep(1)
    assert state == "success", airflow.task_states("flights_region1", run)
    (panel,) = [panel for panel in dashboard()["panels"] if panel["title"] == "By owner"]
    address = machine.places["@warehouse-1:5432"]
    dsn = f"postgresql://grafana_reader:{secrets['GRAFANA_READER_PASSWORD']}{address}/dwh"
    query = Looking(datetime.now(UTC) + timedelta(minutes=1)).query(panel["targets"][0]["rawSql"])
    with psycopg.connect(dsn, row_factory=dict_row) as reader:
        rows = reader.execute(query.encode()).fetchall()
    assert "flights_region1" in {row["dag"] for row in rows}
    assert all(row["lost"] == 0 for row in rows)


@pytest.mark.skipif(not CELERY, reason="no Celery, or no redis-server: see the top of this file")
def test_with_the_profile_celery_workers_have_run_it(machine: Machine) -> None:
    assert machine.environment("scheduler")["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    log = (machine.folder / "logs" / "worker.log").read_text(encoding="utf-8", errors="replace")
    assert log.count("succeeded in") >= 5, "what Celery says of each task that it has run"
