"""The Spark step: CSV in, cleaned and partitioned Parquet out."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

from flights_steps import duckdb_engine, spark_engine
from flights_steps.places import CURATED, Place

log = logging.getLogger(__name__)


def curate_flights(place: Place, landing_table: str = "landing") -> dict[str, int | str]:
    """Read what the crawler has catalogued, write ``curated/month=MM/flights.parquet``; returns engine and file count.

    The names of the files are always the same, so that a repeated run overwrites and leaves nothing behind.
    """
    from airflow.providers.amazon.aws.hooks.glue_catalog import GlueCatalogHook
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    engine = chosen_engine()
    location = GlueCatalogHook(aws_conn_id=place.aws_conn_id).get_table_location(place.glue_database, landing_table)
    source = urlsplit(location)
    s3 = S3Hook(aws_conn_id=place.aws_conn_id).get_conn()
    with tempfile.TemporaryDirectory(prefix="flights-") as scratch:
        landing, curated = Path(scratch, "landing"), Path(scratch, "curated")
        landing.mkdir()
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=source.netloc, Prefix=source.path.lstrip("/"))
        keys = [found["Key"] for page in pages for found in page.get("Contents", []) if found["Key"].endswith(".csv")]
        for key in keys:
            s3.download_file(source.netloc, key, str(landing / Path(key).name))
        log.info("%s reads %d files from %s", engine.name(), len(keys), location)
        engine.curate(landing, curated)
        written = sorted(curated.glob("month=*/*.parquet"))
        for file in written:
            s3.upload_file(str(file), place.bucket, f"{CURATED}{file.parent.name}/flights.parquet")
        log.info("%d Parquet files written to s3://%s/%s", len(written), place.bucket, CURATED)
    return {"engine": engine.name(), "files": len(written)}


def chosen_engine() -> ModuleType:
    """PySpark when it can run here, DuckDB otherwise; the log says which, and why."""
    if lacking := spark_engine.missing():
        log.info("the Spark step runs on DuckDB, because %s", lacking)
        return duckdb_engine
    log.info("the Spark step runs on PySpark")
    return spark_engine
