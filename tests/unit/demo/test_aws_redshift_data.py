"""The simulated Redshift Data API, on a real Postgres."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from botocore.exceptions import ClientError

from airflow_lockprovider.demo.aws import AwsSimulator

REGION, OTHER_REGION = "us-west-2", "eu-central-1"
BUCKET, OTHER_BUCKET = "replica-bucket", "source-bucket"
TARGET: dict[str, str] = {"ClusterIdentifier": "dwh", "Database": "dev"}
ENDED = {"FINISHED", "FAILED", "ABORTED"}


@pytest.fixture
def aws(database: str) -> Iterator[AwsSimulator]:
    with AwsSimulator(warehouses={"dwh": database}) as simulator:
        yield simulator


@pytest.fixture
def api(aws: AwsSimulator) -> Any:
    return aws.client("redshift-data", REGION)


@pytest.fixture
def put(aws: AwsSimulator) -> Callable[[str, bytes], None]:
    for bucket, region in ((BUCKET, REGION), (OTHER_BUCKET, OTHER_REGION)):
        s3 = aws.client("s3", region)
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})

    def put(key: str, body: bytes, bucket: str = BUCKET) -> None:
        s3.put_object(Bucket=bucket, Key=key, Body=body)

    return put


@pytest.fixture
def rows(database: str) -> Callable[[str], list[tuple[Any, ...]]]:
    """Look into the warehouse without the API."""

    def query(sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(database, autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    return query


def _ended(api: Any, statement_id: str) -> dict[str, Any]:
    end = time.monotonic() + 10
    while (described := api.describe_statement(Id=statement_id))["Status"] not in ENDED:
        assert time.monotonic() < end, f"still {described['Status']}"
        time.sleep(0.01)
    return dict(described)


def _run(api: Any, sql: str, **more: Any) -> dict[str, Any]:
    return _ended(api, api.execute_statement(Sql=sql, **TARGET, **more)["Id"])


def _run_batch(api: Any, *sqls: str, **more: Any) -> dict[str, Any]:
    return _ended(api, api.batch_execute_statement(Sqls=list(sqls), **TARGET, **more)["Id"])


def _values(api: Any, statement_id: str) -> list[list[Any]]:
    records = api.get_statement_result(Id=statement_id)["Records"]
    return [[None if "isNull" in field else next(iter(field.values())) for field in record] for record in records]


def _parquet(tmp_path: Path, query: str) -> bytes:
    file = tmp_path / "made.parquet"
    duckdb.sql(query).write_parquet(str(file))
    return file.read_bytes()


def test_query_answers_real_rows_with_their_types(api: Any) -> None:
    done = _run(
        api,
        "SELECT 7 AS n, 1.5::float8 AS f, true AS b, 'x' AS t, 0.10::numeric AS m, "
        "timestamp '2024-01-01 10:00' AS at, NULL::int AS nothing, '\\x6869'::bytea AS raw",
    )
    assert (done["Status"], done["HasResultSet"], done["ResultRows"]) == ("FINISHED", True, 1)
    assert done["Duration"] > 0
    assert (done["ClusterIdentifier"], done["Database"]) == ("dwh", "dev")
    result = api.get_statement_result(Id=done["Id"])
    assert [each["name"] for each in result["ColumnMetadata"]] == ["n", "f", "b", "t", "m", "at", "nothing", "raw"]
    assert [each["typeName"] for each in result["ColumnMetadata"]][:4] == ["int4", "float8", "bool", "varchar"]
    assert result["Records"] == [
        [
            {"longValue": 7},
            {"doubleValue": 1.5},
            {"booleanValue": True},
            {"stringValue": "x"},
            {"stringValue": "0.10"},
            {"stringValue": "2024-01-01 10:00:00"},
            {"isNull": True},
            {"blobValue": b"hi"},
        ]
    ]
    assert result["TotalNumRows"] == 1


def test_large_results_come_in_pages(api: Any) -> None:
    done = _run(api, "SELECT n FROM generate_series(1, 2500) n")
    pages = api.get_paginator("get_statement_result").paginate(Id=done["Id"])
    numbers = [record[0]["longValue"] for page in pages for record in page["Records"]]
    assert numbers == list(range(1, 2501))


def test_statement_without_rows_has_no_result(api: Any, rows: Callable[..., Any]) -> None:
    assert _run(api, "CREATE TABLE t (n int)")["HasResultSet"] is False
    done = _run(api, "INSERT INTO t VALUES (1), (2)")
    assert (done["HasResultSet"], done["ResultRows"]) == (False, 2)
    with pytest.raises(ClientError, match=r"ResourceNotFoundException.*Query does not have result"):
        api.get_statement_result(Id=done["Id"])
    assert rows("SELECT n FROM t ORDER BY n") == [(1,), (2,)]


def test_named_parameters_are_bound_and_not_pasted(api: Any) -> None:
    text = "it's; DROP TABLE x -- 100%"
    done = _run(
        api,
        "SELECT :text, :n::int + 1, '%:n'",
        Parameters=[{"name": "text", "value": text}, {"name": "n", "value": "41"}],
    )
    assert _values(api, done["Id"]) == [[text, 42, "%:n"]]
    assert done["QueryParameters"][1] == {"name": "n", "value": "41"}


def test_unused_parameters_are_refused_at_once(api: Any) -> None:
    with pytest.raises(ClientError, match=r"unused parameters.*'m'"):
        api.execute_statement(Sql="SELECT 1", Parameters=[{"name": "m", "value": "1"}], **TARGET)


def test_failure_is_told_in_the_words_of_the_database(api: Any) -> None:
    failed = _run(api, "SELECT * FROM nowhere")
    assert (failed["Status"], failed["Error"]) == ("FAILED", 'ERROR: relation "nowhere" does not exist')
    failed = _run(api, "DO $$ BEGIN RAISE 'lease lost' USING HINT = 'ask again'; END $$")
    assert failed["Error"] == "ERROR: lease lost\n  Hint: ask again"


def test_several_statements_in_one_text_are_refused_as_by_the_extended_protocol(
    api: Any, rows: Callable[..., Any]
) -> None:
    failed = _run(api, "CREATE TABLE a (n int); CREATE TABLE b (n int)")
    assert failed["Status"] == "FAILED"
    assert "cannot insert multiple commands into a prepared statement" in failed["Error"]
    assert rows("SELECT to_regclass('a')") == [(None,)]


def test_batch_is_one_transaction_begun_on_its_own(api: Any) -> None:
    done = _run_batch(
        api,
        "CREATE TABLE t (n int)",
        "INSERT INTO t VALUES (:n)",
        "SELECT n, txid_current() = (SELECT xmin::text::bigint FROM t), "
        "transaction_timestamp() < statement_timestamp() FROM t",
        Parameters=[{"name": "n", "value": "5"}],
    )
    assert [part["Status"] for part in done["SubStatements"]] == ["FINISHED"] * 3
    assert done["Duration"] >= sum(part["Duration"] for part in done["SubStatements"]) > 0
    assert [part["HasResultSet"] for part in done["SubStatements"]] == [False, False, True]
    assert done["SubStatements"][2]["Id"] == f"{done['Id']}:3"
    assert _values(api, f"{done['Id']}:3") == [[5, True, True]]
    # Also the very first statement is not in an implicit transaction: a guard could stand there.
    first = _run_batch(api, "SELECT transaction_timestamp() < statement_timestamp()")
    assert _values(api, f"{first['Id']}:1") == [[True]]
    alone = _run(api, "SELECT transaction_timestamp() = statement_timestamp()")
    assert _values(api, alone["Id"]) == [[True]]


def test_failing_batch_is_rolled_back_and_names_the_part(api: Any, rows: Callable[..., Any]) -> None:
    failed = _run_batch(api, "CREATE TABLE t (n int)", "INSERT INTO t VALUES ('x')", "SELECT 1")
    assert failed["Status"] == "FAILED"
    assert failed["Error"].startswith("Query #2 failed with ERROR: invalid input syntax")
    assert [part["Status"] for part in failed["SubStatements"]] == ["FINISHED", "FAILED", "ABORTED"]
    assert api.describe_statement(Id=f"{failed['Id']}:2")["Error"].startswith("ERROR: invalid input")
    assert rows("SELECT to_regclass('t')") == [(None,)]


def test_error_at_commit_fails_the_batch(api: Any, rows: Callable[..., Any]) -> None:
    failed = _run_batch(
        api,
        "CREATE TABLE t (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)",
        "INSERT INTO t VALUES (1), (1)",
    )
    assert (failed["Status"], "duplicate key" in failed["Error"]) == ("FAILED", True)
    assert rows("SELECT to_regclass('t')") == [(None,)]


def test_cancel_stops_the_backend(api: Any, rows: Callable[..., Any]) -> None:
    running = api.batch_execute_statement(Sqls=["SELECT 'cancel me', pg_sleep(60)", "SELECT 1"], **TARGET)["Id"]
    busy = """
        SELECT count(*) FROM pg_stat_activity
        WHERE query LIKE '%cancel me%' AND state = 'active' AND pid <> pg_backend_pid()
    """
    end = time.monotonic() + 5
    while rows(busy) != [(1,)]:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert api.describe_statement(Id=running)["Status"] == "STARTED"
    assert api.cancel_statement(Id=running)["Status"] is True
    assert _ended(api, running)["Status"] == "ABORTED"
    assert rows(busy) == [(0,)]
    with pytest.raises(ClientError, match="already in ABORTED state"):
        api.cancel_statement(Id=running)


def test_same_client_token_is_the_same_statement(api: Any, rows: Callable[..., Any]) -> None:
    rows("CREATE TABLE t (n int)")
    token = str(uuid.uuid4())
    ids = {api.execute_statement(Sql="INSERT INTO t VALUES (1)", ClientToken=token, **TARGET)["Id"] for _ in range(3)}
    assert len(ids) == 1
    _ended(api, ids.pop())
    assert rows("SELECT count(*) FROM t") == [(1,)]


def test_statements_are_listed_newest_first_and_per_region(aws: AwsSimulator, api: Any) -> None:
    first = _run(api, "SELECT 1", StatementName="load-a")
    second = _run(api, "SELECT x", StatementName="load-b")
    assert [each["Id"] for each in api.list_statements()["Statements"]] == [second["Id"], first["Id"]]
    assert [each["Id"] for each in api.list_statements(Status="FAILED")["Statements"]] == [second["Id"]]
    assert [each["Id"] for each in api.list_statements(StatementName="load-a")["Statements"]] == [first["Id"]]
    other = aws.client("redshift-data", OTHER_REGION)
    assert other.list_statements()["Statements"] == []
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        other.describe_statement(Id=first["Id"])


def test_warehouse_is_found_by_cluster_then_workgroup_then_region(database: str) -> None:
    with AwsSimulator(warehouses={"dwh": database, OTHER_REGION: database}) as aws:
        here, there = aws.client("redshift-data", REGION), aws.client("redshift-data", OTHER_REGION)
        for api, target in (
            (here, {"ClusterIdentifier": "dwh"}),
            (here, {"WorkgroupName": "dwh"}),
            (there, {"ClusterIdentifier": "any"}),
        ):
            done = _ended(api, api.execute_statement(Sql="SELECT 1", Database="dev", **target)["Id"])
            assert done["Status"] == "FINISHED"
        with pytest.raises(ClientError, match=r"doesn't exist in this region: any in us-west-2.*dwh, eu-central-1"):
            here.execute_statement(Sql="SELECT 1", Database="dev", ClusterIdentifier="any")


def test_unreachable_warehouse_fails_the_statement() -> None:
    with AwsSimulator(warehouses={"dwh": "host=127.0.0.1 port=1 dbname=x connect_timeout=2"}) as aws:
        failed = _run(aws.client("redshift-data", REGION), "SELECT 1")
        assert (failed["Status"], failed["HasResultSet"]) == ("FAILED", False)
        assert "connection" in failed["Error"]


def test_copy_loads_parquet_by_position_under_a_prefix(
    api: Any, put: Callable[..., None], rows: Callable[..., Any], tmp_path: Path
) -> None:
    query = "SELECT {n} AS other_name, 'a,\"b\"\n' AS t, NULL::INT AS nothing, '' AS empty, DATE '2024-02-29' AS d"
    for number in (1, 2):
        put(f"out/sales/ds=1/part-{number}.parquet", _parquet(tmp_path, query.format(n=number)))
    put("out/sales/_SUCCESS", b"")
    put("out/sales/_manifest.json", b"{}")
    put("out/others/part-1.parquet", b"not parquet")
    rows("CREATE TABLE sales (n int, t text, nothing int, empty text, d date)")
    done = _run(
        api,
        f"""-- the nightly load
        COPY public.sales FROM 's3://{BUCKET}/out/sales/'
        IAM_ROLE 'arn:aws:iam::123456789012:role/copy' FORMAT AS PARQUET COMPUPDATE OFF;""",
    )
    assert (done["Status"], done["ResultRows"], done["HasResultSet"]) == ("FINISHED", 2, False)
    assert rows("SELECT n, t, nothing, empty, d::text FROM sales ORDER BY n") == [
        (1, 'a,"b"\n', None, "", "2024-02-29"),
        (2, 'a,"b"\n', None, "", "2024-02-29"),
    ]


def test_copy_loads_csv_with_headers_into_named_columns(
    api: Any, put: Callable[..., None], rows: Callable[..., Any]
) -> None:
    put("out/a.csv", b"n;t\n1;x\n2;\n")
    put("out/b.csv", b"n;t\n3;z")
    rows("CREATE TABLE sales (at timestamptz DEFAULT now(), n int, t text)")
    done = _run(
        api, f"copy sales (n, t) from 's3://{BUCKET}/out/' iam_role default csv delimiter ';' ignoreheader as 1"
    )
    assert (done["Status"], done["ResultRows"]) == ("FINISHED", 3)
    assert rows("SELECT n, t FROM sales WHERE at IS NOT NULL ORDER BY n") == [(1, "x"), (2, None), (3, "z")]


def test_copy_is_part_of_the_batch_transaction(api: Any, put: Callable[..., None], rows: Callable[..., Any]) -> None:
    put("out/a.csv", b"1\n2\n")
    rows("CREATE TABLE sales AS SELECT 0 AS n")
    load = ("DELETE FROM sales", f"COPY sales FROM 's3://{BUCKET}/out/' IAM_ROLE default FORMAT CSV")
    failed = _run_batch(api, *load, "SELECT 1/0")
    assert failed["Status"] == "FAILED"
    assert rows("SELECT n FROM sales") == [(0,)]
    done = _run_batch(api, *load, "SELECT sum(n)::int FROM sales")
    assert done["SubStatements"][1]["ResultRows"] == 2
    assert _values(api, f"{done['Id']}:3") == [[3]]


def test_copy_of_one_bad_file_loads_nothing_and_names_it(
    api: Any, put: Callable[..., None], rows: Callable[..., Any]
) -> None:
    put("out/a.csv", b"1\n")
    put("out/b.csv", b"x\n")
    rows("CREATE TABLE sales (n int)")
    failed = _run(api, f"COPY sales FROM 's3://{BUCKET}/out/' IAM_ROLE default CSV")
    assert failed["Status"] == "FAILED"
    assert "invalid input syntax" in failed["Error"]
    assert f"s3://{BUCKET}/out/b.csv" in failed["Error"]
    assert rows("SELECT n FROM sales") == []


def test_manifest_names_the_files_and_a_missing_mandatory_one_is_an_error(
    api: Any, put: Callable[..., None], rows: Callable[..., Any]
) -> None:
    entry = '{{"url": "s3://{}/out/{}.csv", "mandatory": {}}}'
    for key, mandatory in (("lenient", "false"), ("strict", "true")):
        entries = ", ".join([entry.format(BUCKET, "a", "true"), entry.format(BUCKET, "gone", mandatory)])
        put(f"{key}.manifest", f'{{"entries": [{entries}]}}'.encode())
    put("out/a.csv", b"1\n")
    put("out/not-listed.csv", b"2\n")
    rows("CREATE TABLE sales (n int)")
    assert _run(api, f"COPY sales FROM 's3://{BUCKET}/lenient.manifest' CSV MANIFEST")["Status"] == "FINISHED"
    failed = _run(api, f"COPY sales FROM 's3://{BUCKET}/strict.manifest' CSV MANIFEST")
    assert f"mandatory manifest entry s3://{BUCKET}/out/gone.csv does not exist" in failed["Error"]
    assert rows("SELECT n FROM sales") == [(1,)]


@pytest.mark.parametrize(
    ("source", "options", "reason"),
    [
        (f"{BUCKET}/nothing/", "CSV", "The specified S3 prefix 'nothing/' does not exist"),
        ("no-such-bucket/out/", "CSV", "The specified bucket does not exist: no-such-bucket"),
        (f"{OTHER_BUCKET}/out/", "CSV", f"bucket {OTHER_BUCKET} is in {OTHER_REGION}, the cluster in {REGION}"),
        (f"{OTHER_BUCKET}/out/", f"PARQUET REGION '{OTHER_REGION}'", "REGION is not supported"),
        (f"{BUCKET}/out/", "PARQUET", "is not valid Parquet"),
        (f"{BUCKET}/out/", "CSV GZIP", "does not know the option at 'GZIP'"),
        (f"{BUCKET}/out/", "DELIMITER '|'", "FORMAT PARQUET and CSV only"),
    ],
)
def test_copy_says_what_is_wrong(
    api: Any, put: Callable[..., None], rows: Callable[..., Any], source: str, options: str, reason: str
) -> None:
    put("out/a.csv", b"1\n")
    put("out/a.csv", b"1\n", OTHER_BUCKET)
    rows("CREATE TABLE sales (n int)")
    failed = _run(api, f"COPY sales FROM 's3://{source}' {options}")
    assert failed["Status"] == "FAILED"
    assert reason in failed["Error"]


def test_csv_from_another_region_is_loaded_when_the_statement_names_it(
    api: Any, put: Callable[..., None], rows: Callable[..., Any]
) -> None:
    put("out/a.csv", b"1\n", OTHER_BUCKET)
    rows("CREATE TABLE sales (n int)")
    assert _run(api, f"COPY sales FROM 's3://{OTHER_BUCKET}/out/' CSV REGION '{OTHER_REGION}'")["Status"] == "FINISHED"


@pytest.mark.parametrize("refused", [{"WithEvent": True}, {"SessionKeepAliveSeconds": 10}])
def test_what_is_not_simulated_is_refused(api: Any, refused: dict[str, Any]) -> None:
    with pytest.raises(ClientError, match="is not simulated"):
        api.execute_statement(Sql="SELECT 1", **TARGET, **refused)
    with pytest.raises(ClientError, match="UnknownOperationException"):
        api.list_schemas(**TARGET)


def test_provider_operator_works_unmodified(
    aws: AwsSimulator, rows: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.amazon.aws.hooks.redshift_data import RedshiftDataQueryFailedError
    from airflow.providers.amazon.aws.operators.redshift_data import RedshiftDataOperator

    monkeypatch.setenv(
        "AIRFLOW_CONN_SIMULATED",
        '{"conn_type": "aws", "login": "simulated", "password": "simulated", '
        f'"extra": {{"endpoint_url": "{aws.endpoint_url}", "region_name": "{REGION}"}}}}',
    )

    def run(sql: str | list[str], **more: Any) -> Any:
        operator = RedshiftDataOperator(
            task_id="load",
            sql=sql,
            cluster_identifier="dwh",
            database="dev",
            aws_conn_id="simulated",
            poll_interval=0.05,
            wait_for_completion=True,
            durable=False,
            **more,
        )
        return operator.execute({})

    run(["CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)"])
    results = run(
        "SELECT sum(n) FROM t WHERE n >= :least", parameters=[{"name": "least", "value": "1"}], return_sql_result=True
    )
    assert results[0]["Records"] == [[{"longValue": 3}]]
    with pytest.raises(RedshiftDataQueryFailedError, match="division by zero"):
        run(["DELETE FROM t", "SELECT 1/0"])
    assert rows("SELECT count(*) FROM t") == [(2,)]
