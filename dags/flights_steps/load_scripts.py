"""The Redshift scripts. Each is one transaction of the Data API: all of it happens, or nothing."""

from __future__ import annotations

from flights_steps.places import CURATED, REGION_1, REGION_2

# The aliases are "fresh" and "known", because NEW and OLD are reserved words in Redshift.
_KEY = ("flight_date", "hour", "carrier", "flight")
_REST = ("tailnum", "origin", "dest", "dep_delay", "arr_delay", "air_time", "distance", "cancelled")
_CURATED = ", ".join((*_KEY, *_REST))  # the order of the columns in the Parquet files
_SAME_FLIGHT = " AND ".join(f"known.{column} = fresh.{column}" for column in _KEY)

# Only the columns that the files have: COPY of Parquet goes by position.
_STAGING = f"CREATE TEMP TABLE staging AS SELECT {_CURATED} FROM dwh.flights WHERE 1 = 0"
_COPY = "COPY staging FROM 's3://{bucket}/{prefix}' IAM_ROLE DEFAULT FORMAT AS PARQUET"

_MONTH = "EXTRACT(MONTH FROM fresh.flight_date)"
_TOKEN = "{{ lease.token }}"
_VALUES = ", ".join(f"fresh.{column}" for column in (*_KEY, *_REST))

_REPLACE_MONTHS = f"""
DELETE FROM dwh.flights WHERE month IN (SELECT DISTINCT {_MONTH} FROM staging AS fresh)
"""
_INSERT_ALL = f"""
INSERT INTO dwh.flights ({_CURATED}, month, lock_token)
SELECT {_VALUES}, {_MONTH}, {_TOKEN} FROM staging AS fresh
"""

LOAD_REGION_1 = [
    # First, so that nothing of this transaction is committed by an owner that has lost its lease.
    "{{ lease.guard }}",
    _STAGING,
    _COPY.format(bucket=REGION_1.bucket, prefix=CURATED),
    _REPLACE_MONTHS,
    _INSERT_ALL,
]
"""Region 1: replaces the months that the files have."""

_KILOMETRES = "CAST(ROUND(fresh.distance * 1.609344) AS INTEGER)"
_DELAY = """CASE WHEN fresh.cancelled THEN 'cancelled' WHEN fresh.arr_delay IS NULL THEN 'unknown'
    WHEN fresh.arr_delay <= 15 THEN 'on time' ELSE 'late' END"""

_UPDATE_KNOWN = f"""
UPDATE dwh.flights AS known
SET {", ".join(f"{column} = fresh.{column}" for column in _REST)},
    distance_km = {_KILOMETRES}, delay_class = {_DELAY}, lock_token = {_TOKEN}
FROM staging AS fresh
WHERE {_SAME_FLIGHT} AND known.lock_token < {_TOKEN}
"""
_INSERT_NEW = f"""
INSERT INTO dwh.flights ({_CURATED}, month, distance_km, delay_class, lock_token)
SELECT {_VALUES}, {_MONTH}, {_KILOMETRES}, {_DELAY}, {_TOKEN}
FROM staging AS fresh LEFT JOIN dwh.flights AS known ON {_SAME_FLIGHT}
WHERE known.flight IS NULL
"""

LOAD_REGION_2 = [
    # No guard: the locks live in the database of region 1, and this is another one, whose transactions the guard
    # cannot reach. The remedy is the token in each row: an owner that comes late has a smaller one, and changes
    # nothing that its successor has written.
    _STAGING,
    _COPY.format(bucket=REGION_2.bucket, prefix=CURATED),
    _UPDATE_KNOWN,
    _INSERT_NEW,
]
"""Region 2: modifies what it copies (kilometres, class of delay), updates known flights, inserts new ones."""
