"""What the Spark step makes of a flight: types, missing values, new columns, one SQL that Spark and DuckDB both run."""

from __future__ import annotations

MISSING = "NA"
"""How the CSV writes a value that is not known."""

CSV_COLUMNS = {
    "year": "INTEGER",
    "month": "INTEGER",
    "day": "INTEGER",
    "dep_time": "INTEGER",
    "sched_dep_time": "INTEGER",
    "dep_delay": "INTEGER",
    "arr_time": "INTEGER",
    "sched_arr_time": "INTEGER",
    "arr_delay": "INTEGER",
    "carrier": "STRING",
    "flight": "INTEGER",
    "tailnum": "STRING",
    "origin": "STRING",
    "dest": "STRING",
    "air_time": "INTEGER",
    "distance": "INTEGER",
    "hour": "INTEGER",
    "minute": "INTEGER",
    "time_hour": "STRING",
}

# COPY into Redshift goes by position: the columns of load_scripts.py stand in the same order. The month becomes the
# folder.
CURATE = """
SELECT DISTINCT
    make_date(year, month, day) AS flight_date,
    hour,
    trim(carrier) AS carrier,
    flight,
    tailnum,
    origin,
    dest,
    dep_delay,
    arr_delay,
    air_time,
    distance,
    dep_time IS NULL AS cancelled,
    lpad(CAST(month AS STRING), 2, '0') AS month
FROM landing
"""
ORDER = ("flight_date", "hour", "carrier", "flight")
"""What makes a flight unique; the files are sorted by it, so that the same input gives the same files."""
