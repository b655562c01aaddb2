"""The world of the example DAGs, once for all of these tests, and a way to run a DAG in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest

from airflow_lockprovider.demo.aws import AwsSimulator
from airflow_lockprovider.demo.mail import MailSink
from airflow_lockprovider.demo.postgres import EmbeddedPostgres
from airflow_lockprovider.demo.world import World, warehouses
from airflow_lockprovider.triggers import settle
from tests.conftest import REPOSITORY

BUNDLE = "dags-folder"


class Stage(NamedTuple):
    """The world with the simulator and the mail sink behind it."""

    world: World
    aws: AwsSimulator
    mail: MailSink

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Ask the warehouse of region 1."""
        return query(self.world.region1_dsn, sql, *values)


def query(dsn: str, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(sql.encode(), values)
        return cursor.fetchall() if cursor.description else []


# Not for the whole session: there can be only one simulator in a process, and other tests start their own.
@pytest.fixture(scope="package")
def stage(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    names = ("dags_region1", "dags_region2")
    region1, region2 = (postgres.create_database(name, template="template0") for name in names)
    with (
        AwsSimulator(warehouses=warehouses(region1, region2)) as aws,
        MailSink(tmp_path_factory.mktemp("mail")) as mail,
        pytest.MonkeyPatch.context() as environment,
    ):
        world = World(aws.endpoint_url, region1, region2, mail.port)
        world.build()
        environment.setattr(settle, "settle_time", lambda: 0.0)  # only a scheduler needs that time
        for name, value in world.connections().items():
            environment.setenv(name, value)
        yield Stage(world, aws, mail)
    for name in names:
        postgres.drop_database(name)


@pytest.fixture(scope="package")
def dags(airflow_db: Path) -> dict[str, Any]:
    """DAG id → example DAG, parsed as Airflow does."""
    from airflow.dag_processing.dagbag import BundleDagBag

    folder = REPOSITORY / "dags"
    bag = BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name=BUNDLE)
    assert not bag.import_errors
    return dict(bag.dags)


class Run(NamedTuple):
    """A finished run."""

    run_id: str
    state: str
    tasks: dict[str, str]
    """Task id → state."""


@pytest.fixture(scope="package")
def run(dags: dict[str, Any], stage: Stage) -> Callable[..., Run]:
    """Run a DAG to its end, with these parameters."""

    def run(dag_id: str, **params: Any) -> Run:
        finished = dags[dag_id].test(run_conf=params)
        tasks = {each.task_id: str(each.state) for each in finished.get_task_instances()}
        return Run(finished.run_id, str(finished.state), tasks)

    return run


@pytest.fixture(scope="package")
def flights(run: Callable[..., Run]) -> tuple[Run, Run]:
    """The flights of both regions, in their warehouses."""
    return run("flights_region1"), run("flights_region2")
