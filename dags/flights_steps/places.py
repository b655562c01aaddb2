"""Where the flights lie in each region."""

from __future__ import annotations

from typing import NamedTuple

LANDING = "landing/"
"""CSV, one file per month, as it comes in."""
CURATED = "curated/"
"""Parquet, a folder per month. Written in region 1, replicated by S3 to region 2."""
LOCK = "dwh.flights"
"""Whoever loads the flights into a warehouse, in whichever region, holds this lock."""


class Place(NamedTuple):
    """One region."""

    aws_conn_id: str
    bucket: str
    glue_database: str
    cluster: str


REGION_1 = Place("aws_region1", "flights-region1", "flights_region1", "dwh-region1")
REGION_2 = Place("aws_region2", "flights-region2", "flights_region2", "dwh-region2")
