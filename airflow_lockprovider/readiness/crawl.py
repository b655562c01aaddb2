"""Has *this* crawl of a Glue crawler succeeded, and not an earlier one?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.client_error import code_of
from airflow_lockprovider.readiness.cloudwatch import log_link
from airflow_lockprovider.readiness.moment import moment_of, text_of
from airflow_lockprovider.readiness.partition import PartitionProbe
from airflow_lockprovider.readiness.probe import Probe
from airflow_lockprovider.readiness.server_time import server_time
from airflow_lockprovider.readiness.verdict import Status, Verdict, in_words

_ALREADY_RUNNING = {"CrawlerRunningException", "CrawlerStoppingException"}
_DATE_PRECISION = timedelta(seconds=1)
"""The Date header has whole seconds; a crawl's StartTime is finer."""
_SKIPPED = (
    ". Crawlers skip folders whose schema, format or partition keys differ from the table's, and incremental ones do "
    "not look at known folders again"
)


class CrawlProbe(Probe):
    """``start_crawler`` answers without an id, and "READY, last crawl SUCCEEDED" may speak of yesterday. So the
    last crawl's start is read before every attempt to start, and only a crawl with another start counts, begun
    not before the server's own time of our request.

    ``start=False``: only wait, for a crawl that started at ``after`` (with a time zone) or later.
    ``on_running``: what to do when a crawl is running that began before ours and may have missed files: "rerun"
    (wait for its end, then start ours), "attach" (take it for ours) or "fail".
    ``start_timeout``: seconds within which the started crawl has to become visible.
    ``expected``: settings of a `PartitionProbe` without ``database`` (the crawler's own); what is missing after the
    crawl has SUCCEEDED will not come by itself, so it fails.
    """

    kind: ClassVar[str] = "glue_crawl"
    client_services: ClassVar[Mapping[str, str]] = {"glue": "glue", "s3": "s3"}

    def __init__(
        self,
        clients: Mapping[str, Any],
        *,
        crawler_name: str,
        start: bool = True,
        after: str | None = None,
        on_running: Literal["rerun", "attach", "fail"] = "rerun",
        start_timeout: float = 120,
        expected: Mapping[str, Any] | None = None,
        max_transient_errors: int = 10,
    ) -> None:
        super().__init__(clients, max_transient_errors=max_transient_errors)
        self.expected = dict(expected) if expected else None
        self.crawler_name = crawler_name
        self.start = start
        self.after = _moment(after) if after else None
        self.on_running = on_running
        self.start_timeout = start_timeout
        if start is (self.after is not None):
            raise ConfigurationError("give either start=True, or start=False with after=<datetime>")
        self._queued = False  # somebody else's crawl has to end before ours may start
        self._asked_at: datetime | None = None  # when ours was started, by the server's clock
        self._since: datetime | None = None  # a crawl that began earlier is not ours; None: attached
        self._baseline: datetime | None = None  # the start of the last crawl before ours
        self._looked_twice = False  # for partitions that are missing after the crawl

    def _begin(self) -> Verdict:
        answer = self._get_crawler()
        if not self.start:
            self._since = self.after
            self.must_begin = False
            return self._look_at(answer)
        crawler = answer["Crawler"]
        if crawler["State"] != "READY":
            return self._already_running(answer)
        # Read anew before every attempt: a foreign crawl may have ended since the last one.
        self._baseline = _started(crawler)
        try:
            started = self._request("glue", "start_crawler", Name=self.crawler_name)
        except Exception as error:
            if code_of(error) not in _ALREADY_RUNNING:
                raise
            return self._already_running(answer)
        self._since = self._asked_at = server_time(started)
        self._queued = self.must_begin = False
        return self._waiting(f"crawl of {self.crawler_name} started")

    def _step(self) -> Verdict:
        answer = self._get_crawler()
        if not self._queued:
            return self._look_at(answer)
        if answer["Crawler"]["State"] == "READY":
            self.must_begin = True
            return self._waiting(f"{self.crawler_name} is free, our own crawl can start")
        return self._still_queued()

    def _already_running(self, answer: Mapping[str, Any]) -> Verdict:
        if self.on_running == "fail":
            return self._verdict(
                Status.FAILED,
                f"{self.crawler_name} is already running; its crawl began before we asked and may miss files "
                "(on_running='rerun' waits and runs another)",
            )
        self.must_begin = False
        self._queued = self.on_running == "rerun"
        if self._queued:
            return self._still_queued()
        self._baseline = _started(answer["Crawler"])
        self._asked_at = server_time(answer)
        return self._waiting(f"attached to the running crawl of {self.crawler_name}")

    def _still_queued(self) -> Verdict:
        return self._waiting(f"{self.crawler_name} runs a crawl that began before ours; ours starts after it")

    def _look_at(self, answer: Mapping[str, Any]) -> Verdict:
        crawler = answer["Crawler"]
        if (state := crawler["State"]) != "READY":
            elapsed = in_words(crawler.get("CrawlElapsedTime", 0) / 1000)
            return self._waiting(f"{self.crawler_name} is {state} for {elapsed}")
        if not self._is_ours(crawler):
            if self._asked_at is None:
                return self._waiting(f"no crawl of {self.crawler_name} has ended that started after {self._since}")
            waited = (server_time(answer) - self._asked_at).total_seconds()
            if waited > self.start_timeout:
                return self._verdict(
                    Status.FAILED,
                    f"no crawl of {self.crawler_name} started within {in_words(self.start_timeout)} "
                    f"after {self._asked_at}",
                )
            return self._waiting(f"the crawl of {self.crawler_name} is not visible yet ({in_words(waited)})")
        last = crawler["LastCrawl"]
        if last["Status"] == "SUCCEEDED":
            return self._succeeded(crawler, f"crawl of {self.crawler_name} from {last['StartTime']} SUCCEEDED")
        message = last.get("ErrorMessage") or "no error message"
        return self._verdict(
            Status.FAILED,
            f"crawl of {self.crawler_name} from {last['StartTime']} {last['Status']}: {message}{self._log_of(last)}",
        )

    def _succeeded(self, crawler: Mapping[str, Any], said: str) -> Verdict:
        if self.expected is None:
            return self._verdict(Status.READY, said)
        settings = {"database": crawler.get("DatabaseName"), **self.expected, "missing_table": "wait"}
        partitions = PartitionProbe(self.clients, **settings)
        found = partitions.look_strictly()
        self.requests += partitions.requests
        found = replace(found, requests=self.requests, reason=f"{said}; {found.reason}")
        if found.status is not Status.WAIT or partitions.catalog.unanswered:
            return found
        if not self._looked_twice:
            self._looked_twice = True
            return found
        return replace(found, status=Status.FAILED, reason=f"{found.reason}{_SKIPPED}")

    def _look_once(self) -> Verdict:
        """About the last crawl, without starting one."""
        answer = self._get_crawler()
        self._since, self.must_begin, self._looked_twice = self.after, False, True
        if self.after is None and _started(answer["Crawler"]) is None and answer["Crawler"]["State"] == "READY":
            return self._waiting(f"{self.crawler_name} has never run")
        found = self._look_at(answer)
        return replace(found, reason=f"{found.reason} (only looked, nothing was started)")

    def _is_ours(self, crawler: Mapping[str, Any]) -> bool:
        started = _started(crawler)
        if started is None or started == self._baseline:
            return False
        tolerance = _DATE_PRECISION if self.start else timedelta(0)
        return self._since is None or started >= self._since - tolerance

    def _get_crawler(self) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = self._request("glue", "get_crawler", Name=self.crawler_name)
        return answer

    def _waiting(self, reason: str) -> Verdict:
        return self._verdict(Status.WAIT, reason)

    def _described(self) -> str:
        return f"the Glue crawler {self.crawler_name!r} in {self._region() or 'its region'}"

    def _region(self) -> str:
        return getattr(getattr(self.clients.get("glue"), "meta", None), "region_name", None) or ""

    def _log_of(self, last: Mapping[str, Any]) -> str:
        return log_link(last.get("LogGroup"), last.get("LogStream"), self._region())

    def _memory(self) -> dict[str, Any]:
        return {
            "queued": self._queued,
            "asked_at": _text(self._asked_at),
            "since": _text(self._since),
            "baseline": _text(self._baseline),
            "looked_twice": self._looked_twice,
        }

    def _remember(self, memory: Mapping[str, Any]) -> None:
        self._queued = memory["queued"]
        self._asked_at, self._since = _moment(memory["asked_at"]), _moment(memory["since"])
        self._baseline = _moment(memory["baseline"])
        self._looked_twice = memory["looked_twice"]


def _started(crawler: Mapping[str, Any]) -> datetime | None:
    # A crawler that never ran has no LastCrawl.
    started: datetime | None = (crawler.get("LastCrawl") or {}).get("StartTime")
    return started.astimezone(UTC) if started else None


def _moment(text: str | None) -> datetime | None:
    return moment_of(text) if text else None


def _text(moment: datetime | None) -> str | None:
    return text_of(moment) if moment else None
