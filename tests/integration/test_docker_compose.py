"""docker-compose.yaml cannot be run here (no Docker engine), but what it says can be held against what is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from airflow_lockprovider.demo.aws import AwsSimulator
from airflow_lockprovider.demo.world import World, warehouses

COMPOSE = yaml.safe_load((Path(__file__).parents[2] / "docker-compose.yaml").read_text(encoding="utf-8"))
AIRFLOW = [name for name, service in COMPOSE["services"].items() if service.get("image") == "airflow-lockprovider-demo"]


def test_it_names_the_connections_that_the_examples_need_in_the_same_form():
    ours = World("http://127.0.0.1:5555", "postgresql://x", "postgresql://y", 1025).connections()
    theirs = COMPOSE["x-airflow"]["environment"]
    for name, value in ours.items():
        if value.startswith("{"):
            assert json.loads(theirs[name]) == json.loads(value)
        else:
            assert theirs[name].startswith("postgresql://")


def test_its_simulated_aws_runs_the_sql_of_both_clusters():
    environment = COMPOSE["services"]["aws"]["environment"]
    assert json.loads(environment["LOCKPROVIDER_DEMO_WAREHOUSES"]) == warehouses(
        environment["AIRFLOW_CONN_DWH_DEFAULT"], environment["AIRFLOW_CONN_DWH_REGION2"]
    )


@pytest.mark.parametrize("service", AIRFLOW)
def test_every_command_is_one_that_exists(service):
    """With --help behind it, each prints its usage and ends well; with an unknown option it would not."""
    command = COMPOSE["services"][service]["command"]
    parts = command[2].split(" && ") if command[0] == "sh" else [" ".join(command[:5])]
    from airflow.cli.cli_parser import get_parser

    for part in parts:
        program, *arguments = part.split()
        if program == "airflow":
            assert callable(get_parser().parse_args(arguments).func)
        else:
            assert (program, arguments[0]) == ("python", "-m")
            __import__(arguments[1] + ".__main__" if arguments[1].endswith(".aws") else arguments[1])


def test_the_world_is_built_from_the_environment(postgres, database):
    second = postgres.create_database(f"compose_{os.getpid()}")
    try:
        with AwsSimulator(warehouses=warehouses(database, second)) as aws:
            environment = World(aws.endpoint_url, database, second, 1025).connections()
            built = subprocess.run(
                [sys.executable, "-m", "airflow_lockprovider.demo.world"],
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                check=False,
            )
            assert built.returncode == 0, built.stderr
            assert len(aws.client("s3", "us-east-1").list_objects_v2(Bucket="flights-region1")["Contents"]) == 12
    finally:
        postgres.drop_database(f"compose_{os.getpid()}")
