"""The filters of ListCrawls."""

from __future__ import annotations

import operator
from datetime import UTC, datetime
from typing import Any

from airflow_lockprovider.demo.aws.errors import AwsError

_FIELDS = {
    "CRAWL_ID": "CrawlId",
    "STATE": "State",
    "START_TIME": "StartTime",
    "END_TIME": "EndTime",
    "DPU_HOUR": "DPUHour",
}
_OPERATORS = {
    "GT": operator.gt,
    "GE": operator.ge,
    "LT": operator.lt,
    "LE": operator.le,
    "EQ": operator.eq,
    "NE": operator.ne,
}


def selected(crawls: list[dict[str, Any]], filters: list[dict[str, str]]) -> list[dict[str, Any]]:
    """The crawls that pass every filter. A field that a crawl does not have (yet) passes none."""
    return [crawl for crawl in crawls if all(_passes(crawl, each) for each in filters)]


def _passes(crawl: dict[str, Any], wanted: dict[str, str]) -> bool:
    try:
        name, compare = _FIELDS[wanted["FieldName"]], _OPERATORS[wanted["FilterOperator"]]
    except KeyError as error:
        raise AwsError("InvalidInputException", f"ListCrawls filter {wanted}: {error} is not known") from error
    if name not in crawl:
        return False
    return bool(compare(crawl[name], _value(name, wanted["FieldValue"])))


def _value(name: str, text: str) -> str | float:
    if name == "DPUHour":
        return float(text)
    if not name.endswith("Time"):
        return text
    if text.replace(".", "", 1).isdigit():
        return float(text) / 1000  # the console sends epoch milliseconds
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
