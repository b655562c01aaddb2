"""``airflow locks ready …`` through Airflow's own parser, against the simulated AWS."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest
import yaml

from airflow_lockprovider.cli.ready import EXIT_CODES
from airflow_lockprovider.demo.aws import AwsSimulator
from tests.conftest import REPOSITORY
from tests.simulated_aws import HERE, REPLICA, SOURCE, Lake

BOTH = ["--source-conn-id", "aws_here", "--destination-conn-id", "aws_there"]


@pytest.fixture
def ready(lake: Lake, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run it: exit code, stdout, stderr."""
    from airflow.cli.cli_parser import get_parser

    def run(*words: str) -> tuple[int, str, str]:
        args = get_parser().parse_args(["locks", "ready", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            args.func(args)
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def replication(*more: str, source: str = f"s3://{SOURCE}/out/") -> list[str]:
    return ["s3-replication", "--source", source, "--destination", f"s3://{REPLICA}", *BOTH, *more]


def test_the_exit_code_says_ready_not_yet_failed_or_wrong(aws: AwsSimulator, lake: Lake, ready: Any) -> None:
    aws.configure(replication_stall="part-")
    lake.write(2)
    code, out, _ = ready(*replication("-o", "json"))
    (verdict,) = json.loads(out)
    assert (code, verdict["status"], verdict["arrived"], verdict["expected"]) == (1, "WAIT", 0, 2)
    aws.configure(replication_stall=None, replication_fail="part-")
    lake.write(1, first=2)
    assert ready(*replication(source=f"s3://{SOURCE}/out/nothing/"))[0] == 2
    assert ready(*replication(source="s3://no-such-lake/out/"))[0] == 3


def test_a_refusal_is_believed_at_once_for_there_is_no_second_look(aws: AwsSimulator, lake: Lake, ready: Any) -> None:
    lake.write(1)
    aws.configure(request_errors={"s3.ListObjectsV2": "AccessDenied"})
    code, out, _ = ready(*replication("-o", "json"))
    assert code == 3
    assert re.match(r"refused \(.*allow s3:ListBucket", json.loads(out)[0]["reason"])


def test_the_table_is_for_people(aws: AwsSimulator, lake: Lake, ready: Any) -> None:
    aws.configure(replication_stall="part-00001")
    lake.lay(5)
    lake.write(1, first=1)
    code, out, _ = ready(*replication())
    assert code in (0, 1)
    assert "status" in out
    assert "requests" in out
    assert yaml.safe_load(ready(*replication("-o", "yaml"))[1])[0]["expected"] == 5


def test_a_crawler_is_only_looked_at(aws: AwsSimulator, lake: Lake, ready: Any) -> None:
    glue = aws.client("glue", HERE)
    glue.create_database(DatabaseInput={"Name": "db"})
    targets = {"S3Targets": [{"Path": f"s3://{SOURCE}/out"}]}
    glue.create_crawler(Name="sales", Role="r", DatabaseName="db", Targets=targets)
    code, out, _ = ready("glue-crawl", "sales", "--conn-id", "aws_here", "-o", "json")
    assert (code, json.loads(out)[0]["reason"]) == (1, "sales has never run")
    assert "StartCrawler" not in aws.requests()["glue"]


def test_partitions_and_job_runs_can_be_asked_for(aws: AwsSimulator, lake: Lake, ready: Any) -> None:
    glue = aws.client("glue", HERE)
    glue.create_database(DatabaseInput={"Name": "db"})
    keys = [{"Name": "year", "Type": "string"}]
    glue.create_table(DatabaseName="db", TableInput={"Name": "sales", "PartitionKeys": keys})
    asked = ["glue-partition", "db.sales", "--partition", "year=2026", "--conn-id", "aws_here"]
    code, out, _ = ready(*asked, "-o", "json")
    assert (code, json.loads(out)[0]["missing_sample"]) == (1, ["year=2026"])
    assert ready(*asked, "--partition", "month=1")[0] == 3
    glue.create_job(Name="load", Role="r", Command={"Name": "glueetl"})
    run_id = glue.start_job_run(JobName="load")["JobRunId"]
    aws.set_job_run("load", "EXPIRED", run_id=run_id)
    code, out, _ = ready("glue-job-run", "load", run_id, "--conn-id", "aws_here", "-o", "plain")
    assert code == 2
    assert "EXPIRED" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (replication(source="lake/out"), "write s3://bucket/path"),
        (["glue-partition", "sales", "--partition", "year=2026"], "two names with a dot"),
        (["glue-partition", "db.sales", "--partition", "2026"], "is no partition"),
        (["glue-job-run", "load", "jr_1", "--conn-id", "nowhere"], "connection 'nowhere' is not there"),
        (["redshift-external", "s.t", "--partition", "a=1", "--database", "dwh"], "workgroup_name"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_exit_code_3(ready: Any, words: list[str], said: str) -> None:
    code, out, err = ready(*words)
    assert (code, out) == (3, "")
    assert said in err
    assert err.startswith("airflow locks ready: ")
    assert err.count("\n") == 1


PAGE = (REPOSITORY / "docs" / "readiness.md").read_text(encoding="utf-8")


def test_the_commands_of_the_page_are_understood() -> None:
    from airflow.cli.cli_parser import get_parser

    lines = re.findall(r"^    \$ airflow (locks ready .*)$", PAGE.replace("\\\n", ""), re.MULTILINE)
    asked = [get_parser().parse_args(shlex.split(line)) for line in lines]
    assert len(asked) == 6


def test_the_exit_codes_of_the_page_are_those_of_the_command() -> None:
    for status, code in EXIT_CODES.items():
        assert re.search(rf"^\| {code} \| {status}", PAGE, re.MULTILINE), status
