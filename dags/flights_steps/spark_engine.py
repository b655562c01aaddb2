"""The Spark step on PySpark, in local mode."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from flights_steps.curated_flights import CSV_COLUMNS, CURATE, MISSING, ORDER


def missing() -> str:
    """What Spark lacks here, in words; empty when it can run."""
    if find_spec("pyspark") is None:
        return "PySpark is not installed"
    if shutil.which("java") is None and not os.environ.get("JAVA_HOME"):
        return "there is no Java"
    return ""


def name() -> str:
    import pyspark

    return f"PySpark {pyspark.__version__}"


def curate(landing: Path, curated: Path) -> None:
    """Read all CSV files in ``landing``, write one Parquet file into each ``curated/month=MM/``."""
    from pyspark.sql import SparkSession

    spark = (
        SparkSession.builder.master("local[2]")
        .appName("flights")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.session.timeZone", "UTC")
        .getOrCreate()
    )
    try:
        schema = ", ".join(f"{column} {kind}" for column, kind in CSV_COLUMNS.items())
        flights = spark.read.csv(str(landing), schema=schema, header=True, nullValue=MISSING, mode="FAILFAST")
        flights.createOrReplaceTempView("landing")
        rows = spark.sql(CURATE).repartition("month").sortWithinPartitions("month", *ORDER)
        rows.write.partitionBy("month").parquet(str(curated))
    finally:
        spark.stop()
