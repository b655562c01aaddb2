"""Waits for one particular crawl of a Glue crawler."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from airflow_lockprovider.lease.duration import Duration, seconds
from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.crawl import CrawlProbe
from airflow_lockprovider.readiness.plan import Endpoint, ProbePlan
from airflow_lockprovider.sensors.readiness import ReadinessSensor


class GlueCrawlSensor(ReadinessSensor):
    """Starts the crawler and waits until *that* crawl has SUCCEEDED; an earlier success does not count.

    :param crawler_name: the crawler. (templated)
    :param start: False: start nothing, wait for a crawl that somebody else starts.
    :param after: with ``start=False``: the crawl must have started at this moment or later. A datetime with a
        time zone, or ISO text such as ``"{{ data_interval_end }}"``. (templated)
    :param on_running: when a crawl is running that began before ours and may have missed files: "rerun" waits
        for its end and then starts ours, "attach" takes it for ours, "fail" fails.
    :param aws_conn_id: AWS connection. (templated)
    :param region_name: None: the connection's region. (templated)
    :param start_timeout: the started crawl has to become visible within so long (seconds, text or timedelta).
    """

    template_fields: Sequence[str] = ("crawler_name", "after", "aws_conn_id", "region_name")

    def __init__(
        self,
        *,
        crawler_name: str,
        start: bool = True,
        after: datetime | str | None = None,
        on_running: Literal["rerun", "attach", "fail"] = "rerun",
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        start_timeout: Duration | str = 120,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(crawler_name, str) and not crawler_name:
            raise ConfigurationError("crawler_name must not be empty")
        if start and after is not None:
            raise ConfigurationError("after= needs start=False: a crawl that we start ourselves is later anyway")
        if not start and after is None:
            raise ConfigurationError("start=False needs after=<datetime>: which crawl is meant?")
        if isinstance(after, datetime) and after.tzinfo is None:
            raise ConfigurationError(f"after={after!r} needs a time zone")
        if on_running not in ("rerun", "attach", "fail"):
            raise ConfigurationError(f"on_running={on_running!r} must be 'rerun', 'attach' or 'fail'")
        self.crawler_name = crawler_name
        self.start = start
        self.after = after
        self.on_running = on_running
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.start_timeout = seconds(start_timeout, setting="start_timeout")

    def _plan(self) -> ProbePlan:
        return ProbePlan(
            kind=CrawlProbe.kind,
            settings={
                "crawler_name": self.crawler_name,
                "start": self.start,
                "after": self.after.isoformat() if isinstance(self.after, datetime) else self.after,
                "on_running": self.on_running,
                "start_timeout": self.start_timeout,
                "max_transient_errors": self.max_transient_errors,
            },
            endpoints={"glue": Endpoint("glue", self.aws_conn_id, self.region_name)},
        )
