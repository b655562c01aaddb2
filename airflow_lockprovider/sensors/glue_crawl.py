"""Waits for one particular crawl of a Glue crawler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from airflow_lockprovider.lease.duration import Duration, seconds
from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.crawl import CrawlProbe
from airflow_lockprovider.readiness.plan import Endpoint, ProbePlan
from airflow_lockprovider.sensors.checking import check_choice, check_location, check_moment, check_name, iso
from airflow_lockprovider.sensors.partitions import check_partitions, read_partitions
from airflow_lockprovider.sensors.readiness import ReadinessSensor


class GlueCrawlSensor(ReadinessSensor):
    """Starts the crawler and waits until *that* crawl has SUCCEEDED; an earlier success does not count.

    :param crawler_name: the crawler. (templated)
    :param start: False: start nothing, wait for a crawl that somebody else starts.
    :param after: with ``start=False``: the crawl must have started at this moment or later. A datetime with a
        time zone, or ISO text such as ``"{{ data_interval_end }}"``. (templated)
    :param on_running: when a crawl is running that began before ours and may have missed files: "rerun" waits
        for its end and then starts ours, "attach" takes it for ours, "fail" fails.
    :param expected_partitions: what the crawl has to leave in the catalog: ``"year=2026/month=01"`` and so on, see
        `GluePartitionSensor`. One that is missing after the crawl has SUCCEEDED fails the task by name. (templated)
    :param table_name: with ``expected_partitions``: the table. (templated)
    :param database_name: None: the crawler's own. (templated)
    :param location_prefix: the expected partitions have to lie under it. (templated)
    :param aws_conn_id: AWS connection. (templated)
    :param region_name: None: the connection's region. (templated)
    :param start_timeout: the started crawl has to become visible within so long (seconds, text or timedelta).
    """

    template_fields: Sequence[str] = (
        "crawler_name",
        "after",
        "expected_partitions",
        "table_name",
        "database_name",
        "location_prefix",
        "aws_conn_id",
        "region_name",
    )

    def __init__(
        self,
        *,
        crawler_name: str,
        start: bool = True,
        after: datetime | str | None = None,
        on_running: Literal["rerun", "attach", "fail"] = "rerun",
        expected_partitions: Sequence[str | Mapping[str, str] | Sequence[str]] | None = None,
        table_name: str | None = None,
        database_name: str | None = None,
        location_prefix: str | None = None,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        start_timeout: Duration | str = 120,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_name("crawler_name", crawler_name)
        if start and after is not None:
            raise ConfigurationError("after= needs start=False: a crawl that we start ourselves is later anyway")
        if not start and after is None:
            raise ConfigurationError("start=False needs after=<datetime>: which crawl is meant?")
        check_moment("after", after)
        check_choice("on_running", on_running, ("rerun", "attach", "fail"))
        if expected_partitions is not None:
            check_partitions(expected_partitions)
            check_location("location_prefix", location_prefix)
        if (expected_partitions is None) is not (table_name is None):
            raise ConfigurationError("expected_partitions= and table_name= belong together: partitions of which table?")
        if expected_partitions is None and (database_name is not None or location_prefix is not None):
            raise ConfigurationError("database_name= and location_prefix= are about expected_partitions=")
        self.crawler_name = crawler_name
        self.start = start
        self.after = after
        self.on_running = on_running
        self.expected_partitions = expected_partitions
        self.table_name = table_name
        self.database_name = database_name
        self.location_prefix = location_prefix
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.start_timeout = seconds(start_timeout, setting="start_timeout")

    def _plan(self) -> ProbePlan:
        endpoints = {"glue": Endpoint("glue", self.aws_conn_id, self.region_name)}
        if self.expected_partitions is not None:
            endpoints["s3"] = Endpoint("s3", self.aws_conn_id, self.region_name)
        return ProbePlan(
            kind=CrawlProbe.kind,
            settings={
                "crawler_name": self.crawler_name,
                "start": self.start,
                "after": iso(self.after),
                "on_running": self.on_running,
                "start_timeout": self.start_timeout,
                "expected": self._expected(),
                "max_transient_errors": self.max_transient_errors,
            },
            endpoints=endpoints,
        )

    def _expected(self) -> dict[str, Any] | None:
        if self.expected_partitions is None:
            return None
        wanted = {
            "database": self.database_name,
            "table": self.table_name,
            "partitions": read_partitions(self.expected_partitions),
            "location_prefix": self.location_prefix,
        }
        return {name: value for name, value in wanted.items() if value is not None}
