"""The Redshift sensor against the simulated Data API. A Postgres stands for the warehouse, with the catalog views of
Spectrum as tables in it; its SQL is Postgres's, so what only Redshift does is not proven here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from airflow.providers.common.compat.sdk import AirflowSensorTimeout

from airflow_lockprovider.demo.aws import AwsSimulator
from airflow_lockprovider.readiness.errors import DataWillNotArrive, ReadinessMisconfigured
from airflow_lockprovider.sensors import RedshiftExternalDataSensor
from airflow_lockprovider.triggers import settle
from tests.simulated_aws import set_connections

from .sensor_task import SensorTask

VIEWS = """
CREATE TABLE svv_external_columns (schemaname text, tablename text, columnname text, part_key int);
CREATE TABLE svv_external_partitions (schemaname text, tablename text, "values" text, location text);
CREATE SCHEMA lake;
CREATE TABLE lake.sales (id int, "year" text, "month" text, "$path" text);
INSERT INTO svv_external_columns VALUES
  ('lake', 'sales', 'id', 0), ('lake', 'sales', 'month', 2), ('lake', 'sales', 'year', 1), ('other', 'sales', 'x', 1);
"""


@pytest.fixture(autouse=True)
def _settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "settle_time", lambda: 0.0)


@pytest.fixture
def aws(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsSimulator]:
    with AwsSimulator(warehouses={"analytics": database}) as simulator:
        set_connections(monkeypatch, simulator.endpoint_url)
        yield simulator


@pytest.fixture
def warehouse(aws: AwsSimulator, database: str) -> Iterator[Any]:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(VIEWS)
        yield connection


def show_partition(warehouse: Any, *values: str, location: str = "s3://lake/sales/", spaced: bool = False) -> None:
    text = json.dumps(values, separators=(", ", ": ") if spaced else (",", ":"))
    warehouse.execute("INSERT INTO svv_external_partitions VALUES ('lake', 'sales', %s, %s)", (text, location))


def external(*names: str, **settings: Any) -> RedshiftExternalDataSensor:
    return RedshiftExternalDataSensor(
        **{
            "task_id": "visible",
            "database": "dwh",
            "schema_name": "lake",
            "table_name": "sales",
            "partitions": list(names) or ["year=2026/month=01"],
            "workgroup_name": "analytics",
            "aws_conn_id": "aws_here",
            "poke_interval": 0.1,
            "timeout": 20,
            **settings,
        }
    )


@pytest.mark.parametrize("spaced", [False, True])
def test_a_partition_that_redshift_shows_is_ready(warehouse: Any, spaced: bool) -> None:
    show_partition(warehouse, "2026", "01", spaced=spaced)
    show_partition(warehouse, "2026", "02")
    verdict = SensorTask(external()).begin()
    assert (verdict["status"], verdict["arrived"]) == ("READY", 1)


def test_a_partition_is_waited_for_in_the_triggerer(warehouse: Any) -> None:
    task = SensorTask(external())
    task.begin()
    assert "Redshift analytics with lake.sales: year=2026/month=01 is not visible" in task.published[0]["reason"]
    show_partition(warehouse, "2026", "01")
    assert task.finish()["status"] == "READY"


def test_files_are_counted_where_that_is_wanted(warehouse: Any) -> None:
    show_partition(warehouse, "2026", "01")
    task = SensorTask(external(min_files=2))
    task.begin()
    assert "year=2026/month=01 has 0 files for Spectrum, not 2" in task.published[0]["reason"]
    for name in ("a", "a", "b"):
        warehouse.execute("INSERT INTO lake.sales VALUES (1, '2026', '01', %s)", (name,))
    assert task.finish()["status"] == "READY"


def test_a_place_outside_of_the_prefix_fails(warehouse: Any) -> None:
    show_partition(warehouse, "2026", "01", location="s3://lake-of-region-1/sales/year=2026/month=01")
    with pytest.raises(DataWillNotArrive, match=r"lies in s3://lake-of-region-1.*not under s3://lake/sales"):
        SensorTask(external(location_prefix="s3://lake/sales")).run()


def test_a_location_that_the_view_has_cut_off_is_compared_as_far_as_it_goes(warehouse: Any) -> None:
    prefix = "s3://lake/" + "x" * 150
    show_partition(warehouse, "2026", "01", location=prefix[:128])
    assert SensorTask(external(location_prefix=prefix)).begin()["status"] == "READY"


def test_a_table_that_redshift_does_not_know_is_an_error_or_waited_for(warehouse: Any) -> None:
    with pytest.raises(ReadinessMisconfigured, match="has no such external table"):
        SensorTask(external(table_name="sails")).run()
    with pytest.raises(AirflowSensorTimeout, match="has no such external table"):
        SensorTask(external(table_name="sails", missing_table="wait", timeout=0.3)).run()


def test_a_statement_that_fails_fails_the_task_with_redshifts_message(warehouse: Any) -> None:
    warehouse.execute("DROP TABLE svv_external_columns")
    with pytest.raises(ReadinessMisconfigured, match=r'FAILED: .*relation "svv_external_columns" does not exist'):
        SensorTask(external()).run()


def test_a_workgroup_that_is_not_there_is_named(warehouse: Any) -> None:
    with pytest.raises(ReadinessMisconfigured, match=r"ValidationException.*nowhere"):
        SensorTask(external(workgroup_name="nowhere")).run()


def test_throttling_is_waited_out(aws: AwsSimulator, warehouse: Any) -> None:
    show_partition(warehouse, "2026", "01")
    aws.fault("redshift-data.ExecuteStatement", "ActiveStatementsExceededException", times=3)
    assert SensorTask(external()).run()["status"] == "READY"


def test_a_triggerer_that_dies_in_the_middle_changes_nothing(warehouse: Any) -> None:
    task = SensorTask(external())
    task.begin()
    task.kill_triggerer_after(0.5)
    show_partition(warehouse, "2026", "01")
    assert task.finish()["status"] == "READY"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"cluster_identifier": "c"}, "either workgroup_name"),
        ({"workgroup_name": None}, "either workgroup_name"),
        ({"db_user": "etl"}, "db_user="),
        ({"partitions": []}, "at least one"),
        ({"partitions": "year=2026"}, "must be a list"),
        ({"partitions": ["2026"]}, "is no partition"),
        ({"location_prefix": "lake/sales"}, "location_prefix"),
        ({"min_files": -1}, "min_files=-1"),
        ({"missing_table": "create"}, "missing_table='create'"),
        ({"schema_name": ""}, "schema_name"),
    ],
)
def test_settings_are_checked_when_the_dag_is_parsed(settings: dict[str, Any], said: str) -> None:
    from airflow_lockprovider.exceptions import ConfigurationError

    with pytest.raises(ConfigurationError, match=said):
        external(**settings)
