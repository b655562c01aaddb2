"""The Spark step on DuckDB: the same SQL, for machines without Spark or Java."""

from __future__ import annotations

from pathlib import Path

from flights_steps.curated_flights import CSV_COLUMNS, CURATE, MISSING, ORDER


def name() -> str:
    import duckdb

    return f"DuckDB {duckdb.__version__}"


def curate(landing: Path, curated: Path) -> None:
    """Read all CSV files in ``landing``, write one Parquet file into each ``curated/month=MM/``."""
    import duckdb

    with duckdb.connect() as connection:
        files = [str(file) for file in sorted(landing.glob("*.csv"))]
        connection.read_csv(files, columns=CSV_COLUMNS, header=True, na_values=MISSING).create_view("landing")
        connection.execute(f"CREATE TABLE flights AS {CURATE}")
        for (month,) in connection.execute("SELECT DISTINCT month FROM flights ORDER BY month").fetchall():
            folder = curated / f"month={month}"
            folder.mkdir(parents=True)
            rows = f"SELECT * EXCLUDE (month) FROM flights WHERE month = '{month}' ORDER BY {', '.join(ORDER)}"
            connection.execute(f"COPY ({rows}) TO '{folder / 'flights.parquet'}' (FORMAT parquet)")
