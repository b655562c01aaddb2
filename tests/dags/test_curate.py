"""The Spark step: the same SQL on both engines."""

from __future__ import annotations

import logging
from pathlib import Path
from types import ModuleType

import duckdb
import pytest

pytestmark = pytest.mark.usefixtures("dags")  # has put the dags folder on sys.path

HEADER = (
    "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,flight,tailnum,"
    "origin,dest,air_time,distance,hour,minute,time_hour\n"
)
FLEW = "2013,1,31,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-01-31T10:00:00Z\n"
CANCELLED = "2013,2,1,NA,600,NA,NA,901,NA,B6,125,NA,JFK,FLL,NA,1069,6,0,2013-02-01T11:00:00Z\n"


@pytest.fixture(params=["duckdb_engine", "spark_engine"])
def engine(request: pytest.FixtureRequest) -> ModuleType:
    from flights_steps import duckdb_engine, spark_engine

    if request.param == "duckdb_engine":
        return duckdb_engine
    if lacking := spark_engine.missing():
        pytest.skip(f"{lacking}: pip install airflow-lockprovider[spark]")
    return spark_engine


def test_csv_becomes_one_parquet_file_per_month_without_duplicates(engine: ModuleType, tmp_path: Path) -> None:
    landing, curated = tmp_path / "landing", tmp_path / "curated"
    landing.mkdir()
    (landing / "january.csv").write_text(HEADER + FLEW + FLEW)
    (landing / "february.csv").write_text(HEADER + CANCELLED)

    engine.curate(landing, curated)

    files = {file.parent.name: str(file) for file in sorted(curated.glob("month=*/*.parquet"))}
    assert list(files) == ["month=01", "month=02"]
    with duckdb.connect() as connection:
        rows = [
            connection.execute("SELECT * FROM read_parquet($1, hive_partitioning = false)", [file]).fetchall()
            for file in files.values()
        ]
    ((flew,), (cancelled,)) = rows
    assert (str(flew[0]), *flew[1:]) == (("2013-01-31", 5, "UA", 1545, "N14228", "EWR", "IAH", 2, 11, 227, 1400, False))
    assert (str(cancelled[0]), *cancelled[1:]) == (
        ("2013-02-01", 6, "B6", 125, None, "JFK", "FLL", None, None, None, 1069, True)
    )


def test_a_line_that_is_no_flight_fails_the_step(engine: ModuleType, tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    landing.mkdir()
    (landing / "broken.csv").write_text(HEADER + FLEW.replace("1400", "far away"))
    with pytest.raises(Exception, match=r"far away|MALFORMED_RECORD"):
        engine.curate(landing, tmp_path / "curated")


@pytest.mark.parametrize(
    ("module", "java", "words"),
    [(None, "/usr/bin/java", "PySpark is not installed"), ("pyspark", None, "there is no Java")],
)
def test_without_spark_or_java_duckdb_takes_over_and_the_log_says_why(
    module: str | None,
    java: str | None,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from flights_steps import curate, duckdb_engine, spark_engine

    monkeypatch.setattr(spark_engine, "find_spec", lambda name: module)
    monkeypatch.setattr(spark_engine.shutil, "which", lambda name: java)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    caplog.set_level(logging.INFO, logger="flights_steps.curate")
    assert curate.chosen_engine() is duckdb_engine
    assert words in caplog.text


def test_with_spark_and_java_the_step_runs_on_pyspark(monkeypatch: pytest.MonkeyPatch) -> None:
    from flights_steps import curate, spark_engine

    monkeypatch.setattr(spark_engine, "find_spec", lambda name: name)
    monkeypatch.setattr(spark_engine.shutil, "which", lambda name: "/usr/bin/java")
    assert curate.chosen_engine() is spark_engine
