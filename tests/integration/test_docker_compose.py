"""docker-compose.yaml cannot be run here (no Docker engine), but what it says can be held against what is there."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import psycopg
import pytest
import yaml

from airflow_lockprovider.demo.aws import AwsSimulator
from airflow_lockprovider.demo.postgres import EmbeddedPostgres
from airflow_lockprovider.demo.postgres_binaries import candidate_folders
from airflow_lockprovider.demo.world import World, warehouses
from airflow_lockprovider.grafana import dashboard
from airflow_lockprovider.lease import connect
from tests.compose.compose_file import EXAMPLE, FILE, REPOSITORY, MissingVariable, filled, raw, variables_of

TEXT = FILE.read_text(encoding="utf-8")
GIVEN = variables_of(EXAMPLE.read_text(encoding="utf-8"))
SAMPLE = {name: f"value{number}" for number, name in enumerate(GIVEN)}
COMPOSE = filled(SAMPLE)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"].startswith("airflow-lockprovider")]
IN_AIRFLOW = COMPOSE["x-airflow"]["environment"]
PROVISIONING = REPOSITORY / "deploy" / "grafana" / "provisioning"


def test_it_is_a_compose_file() -> None:
    schema = json.loads((REPOSITORY / "tests" / "compose" / "compose-spec.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(raw())
    with pytest.raises(jsonschema.ValidationError):  # the check can fail
        jsonschema.Draft202012Validator(schema).validate({"services": {"x": {"imag": "y"}}})


def test_docker_compose_reads_it(tmp_path: Path) -> None:
    version = ["docker", "compose", "version"]
    if shutil.which("docker") is None or subprocess.run(version, capture_output=True, check=False).returncode:
        pytest.skip("no `docker compose` here: the file was checked with the schema and by what it refers to")
    environment = tmp_path / "env"
    environment.write_text("".join(f"{name}={value}\n" for name, value in SAMPLE.items()), encoding="utf-8")
    config = ["docker", "compose", "--env-file", str(environment), "--profile", "celery", "config", "--quiet"]
    read = subprocess.run(config, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert read.returncode == 0, read.stderr


def test_all_parts_are_there() -> None:
    assert set(SERVICES) == {
        *("postgres", "warehouse-1", "warehouse-2", "aws", "mail", "grafana", "init"),
        *("api-server", "scheduler", "dag-processor", "triggerer", "worker", "redis"),
    }
    assert {name for name, service in SERVICES.items() if "profiles" in service} == {"worker", "redis"}


@pytest.mark.parametrize("service", SERVICES)
def test_what_a_service_waits_for_is_there_and_can_be_waited_for(service: str) -> None:
    for name, how in SERVICES[service].get("depends_on", {}).items():
        awaited = SERVICES[name]
        if how["condition"] == "service_healthy":
            assert "healthcheck" in awaited, (service, name)
        else:
            assert how["condition"] == "service_completed_successfully"
            assert awaited["restart"] == "no", (service, name)
        # Else a start without the profile would fail.
        assert set(awaited.get("profiles", [])) <= set(SERVICES[service].get("profiles", [])), (service, name)


def test_nothing_waits_for_itself() -> None:
    def behind(name: str, seen: tuple[str, ...] = ()) -> None:
        assert name not in seen, (*seen, name)
        for other in SERVICES[name].get("depends_on", {}):
            behind(other, (*seen, name))

    for service in SERVICES:
        behind(service)


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_a_version_a_health_check_and_ports_on_loopback_alone(service: str) -> None:
    parts = SERVICES[service]
    assert re.search(r":[\w.-]*\d", parts["image"]), "a version, never latest"
    assert ("healthcheck" in parts) == (service != "init")
    assert all(port.startswith("127.0.0.1:") for port in parts.get("ports", []))


@pytest.mark.parametrize("service", SERVICES)
def test_every_volume_is_declared_and_every_file_that_is_mounted_exists(service: str) -> None:
    for volume in SERVICES[service].get("volumes", []):
        source, _, rest = volume.partition(":")
        if source.startswith("."):
            assert (REPOSITORY / source).exists(), source
            assert rest.endswith(":ro"), source
        else:
            assert source in COMPOSE["volumes"], source


def test_no_secret_has_a_default_and_the_example_names_them_all() -> None:
    required = set(re.findall(r"\$\{(\w+):\?", TEXT))
    assert {name for name, value in GIVEN.items() if not value} == required
    optional = set(re.findall(r"(?<!\$)\$\{(\w+)(?!\w|:\?)", TEXT))
    assert optional == {"AIRFLOW_EXECUTOR"}
    assert "# AIRFLOW_EXECUTOR=" in EXAMPLE.read_text(encoding="utf-8")
    for name in required:
        with pytest.raises(MissingVariable, match=name):
            filled({other: value for other, value in SAMPLE.items() if other != name})
    assert not re.search(r"(?i)password['\"]?: (?!\$\{|\"simulated)\S*", TEXT.replace("POSTGRES_PASSWORD: ${", ""))


def test_the_secrets_that_are_made_up_are_all_there_and_fit_where_they_stand() -> None:
    from cryptography.fernet import Fernet

    made = [
        variables_of(
            subprocess.run(
                [sys.executable, "deploy/make_env.py"], cwd=REPOSITORY, capture_output=True, check=True, text=True
            ).stdout
        )
        for _ in range(2)
    ]
    assert set(made[0]) == set(GIVEN)
    assert all(made[0][name] != made[1][name] for name in GIVEN)
    Fernet(made[0]["FERNET_KEY"])
    for name, value in made[0].items():
        assert name == "FERNET_KEY" or re.fullmatch(r"[0-9a-f]{64}", value)
    filled(made[0])
    assert "/.env" in (REPOSITORY / ".gitignore").read_text(encoding="utf-8").split()


@pytest.mark.parametrize("service", OURS)
def test_every_command_is_one_that_exists(service: str) -> None:
    for words in _commands(SERVICES[service]["command"]):
        _check_command(words)


@pytest.mark.parametrize("service", [name for name in OURS if name not in ("init", "worker")])
def test_every_health_check_is_one_that_exists(service: str) -> None:
    kind, *words = SERVICES[service]["healthcheck"]["test"]
    assert kind == "CMD"
    _check_command(words)


def _commands(command: list[str]) -> list[list[str]]:
    if command[:2] != ["sh", "-ec"]:
        return [command]
    return [shlex.split(part.removeprefix("exec ")) for part in command[2].split(" && ")]


def _check_command(words: list[str]) -> None:
    program, *arguments = words
    if program == "airflow" and arguments[0] == "celery":
        _check_celery(arguments)
    elif program == "airflow":
        from airflow.cli.cli_parser import get_parser

        assert callable(get_parser().parse_args(arguments).func)
    elif arguments[0] == "-c":
        compile(arguments[1], "health check", "exec")
    elif arguments[0] == "-m":
        assert importlib.util.find_spec(arguments[1]) is not None
        if arguments[2:]:
            options = subprocess.run([sys.executable, "-m", arguments[1], "--help"], capture_output=True, check=True)
            for option in arguments[2:]:
                assert not option.startswith("--") or option.encode() in options.stdout, option
    else:
        assert program == "python"
        assert (REPOSITORY / arguments[0].removeprefix("/opt/")).is_file()


def _check_celery(arguments: list[str]) -> None:
    """The provider for Celery is in the image, not among what we develop with: its command line is known by heart."""
    assert "apache-airflow-providers-celery==" in (REPOSITORY / "deploy" / "requirements.txt").read_text("utf-8")
    assert arguments == ["celery", "worker", "--skip-serve-logs", "--concurrency", "4"]


def test_the_image_holds_what_the_commands_need() -> None:
    dockerfile = (REPOSITORY / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    ignored = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").split("\n")
    assert ignored.index("*") < ignored.index("!deploy")
    for line in re.findall(r"^COPY (.+)$", dockerfile, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (REPOSITORY / source).exists(), source
            assert f"!{source.split('/')[0]}" in ignored, source
    assert "USER airflow" in dockerfile
    assert COMPOSE["x-airflow"]["build"]["dockerfile"] == "deploy/Dockerfile"


def test_it_names_the_connections_that_the_examples_need() -> None:
    ours = World("http://aws:5555", "postgresql://x", "postgresql://y", 1025).connections()
    for name, value in ours.items():
        if not value.startswith("{"):
            assert IN_AIRFLOW[name].startswith("postgresql://")
            continue
        expected, theirs = json.loads(value), json.loads(IN_AIRFLOW[name])
        if expected["conn_type"] == "smtp":
            expected["host"] = "mail"
        else:  # a bucket's name is no host's name
            expected["extra"]["config_kwargs"] = {"s3": {"addressing_style": "path"}}
        assert theirs == expected


def test_every_host_and_port_that_is_named_is_that_of_a_service() -> None:
    named = {"postgres:5432", "warehouse-1:5432", "warehouse-2:5432", "aws:5555", "redis:6379", "api-server:8080"}
    by_health_checks = {"127.0.0.1:5555", "127.0.0.1:8080", "127.0.0.1:8974", "127.0.0.1:3000"}
    by_browsers = {"localhost:8080"}
    source = _datasource()
    texts = [json.dumps(COMPOSE["services"]), json.dumps(IN_AIRFLOW), f"@{source['url']}/"]
    found = {host for text in texts for host in re.findall(r"(?://|@)([\w.-]+:\d+)", text)}
    assert found == named | by_health_checks | by_browsers
    assert {host.split(":")[0] for host in named} <= set(SERVICES)


def test_its_simulated_aws_runs_the_sql_of_both_clusters() -> None:
    assert json.loads(SERVICES["aws"]["environment"]["LOCKPROVIDER_DEMO_WAREHOUSES"]) == warehouses(
        IN_AIRFLOW["AIRFLOW_CONN_DWH_DEFAULT"], IN_AIRFLOW["AIRFLOW_CONN_DWH_REGION2"]
    )


def _datasource() -> dict[str, Any]:
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "warehouse.yaml").read_text("utf-8"))["datasources"]
    return dict(source)


def test_grafana_finds_the_dashboard_and_a_source_of_its_type() -> None:
    source, grafana = _datasource(), SERVICES["grafana"]
    (variable,) = [one for one in dashboard()["templating"]["list"] if one["type"] == "datasource"]
    assert source["type"] == variable["query"]
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "locks.yaml").read_text("utf-8"))["providers"]
    assert (
        f"./airflow_lockprovider/grafana/locks.json:{provider['options']['path']}/locks.json:ro" in grafana["volumes"]
    )
    assert source["secureJsonData"]["password"] == "$GRAFANA_READER_PASSWORD"
    assert "GRAFANA_READER_PASSWORD" in grafana["environment"]
    assert source["jsonData"]["database"] == SERVICES["warehouse-1"]["environment"]["POSTGRES_DB"]


def test_the_user_of_grafana_may_read_the_views_and_no_more(tmp_path: Path) -> None:
    """The script of the first warehouse runs on a new server, before there are any locks."""
    (psql,) = [folder / "psql" for folder in candidate_folders() if (folder / "psql").exists()][:1]
    with EmbeddedPostgres(tmp_path) as server:
        dsn = server.create_database("dwh")
        address = psycopg.conninfo.conninfo_to_dict(dsn)
        subprocess.run(
            ["sh", REPOSITORY / "deploy" / "warehouse" / "grafana_reader.sh"],
            env={
                "PATH": f"{psql.parent}{os.pathsep}{os.environ['PATH']}",
                "PGHOST": str(address["host"]),
                "PGPORT": str(address["port"]),
                "PGPASSWORD": str(address.get("password", "")),
                "POSTGRES_USER": str(address["user"]),
                "POSTGRES_DB": "dwh",
                "GRAFANA_READER_PASSWORD": "it's a secret",
            },
            check=True,
            capture_output=True,
        )
        engine = connect(dsn)
        engine.init_schema()
        engine.close()
        with psycopg.connect(dsn, user="grafana_reader", password="it's a secret", autocommit=True) as reader:
            assert reader.execute("select count(*) from lockprovider.locks").fetchone() == (0,)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute("select * from lockprovider.lease")


def test_the_logins_are_written_for_airflow_alone(tmp_path: Path) -> None:
    file = tmp_path / "passwords.json"
    subprocess.run(
        [sys.executable, "deploy/write_passwords.py"],
        cwd=REPOSITORY,
        env={
            "ADMIN_PASSWORD": "a",
            "VIEWER_PASSWORD": "b",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(file),
        },
        check=True,
    )
    assert json.loads(file.read_text(encoding="utf-8")) == {"admin": "a", "viewer": "b"}
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_world_is_built_from_the_environment(postgres: EmbeddedPostgres, database: str) -> None:
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
