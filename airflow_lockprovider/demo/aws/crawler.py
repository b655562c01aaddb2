"""Glue crawlers that run, end, and leave tables behind.

moto creates and deletes the crawlers; what they do is here. As AWS documents it: ``LastCrawl`` speaks only
of a crawl that has ended, in the words SUCCEEDED, CANCELLED and FAILED; a crawl sees what lay in S3 when it
started and writes to the catalog at its end.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from statistics import median
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

from botocore import xform_name
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.glue.models import FakeCrawler, glue_backends

from airflow_lockprovider.demo.aws.crawl import READY, STOPPING, Crawl
from airflow_lockprovider.demo.aws.crawl_filters import selected
from airflow_lockprovider.demo.aws.errors import AwsError
from airflow_lockprovider.demo.aws.request import AwsRequest
from airflow_lockprovider.demo.aws.settings import Settings


class Crawlers:
    """The crawler operations of the Glue API; all others are moto's."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._lock = Lock()
        # Weak: a deleted crawler takes its history along, and its successor of the same name starts with
        # none.
        self._crawls: WeakKeyDictionary[FakeCrawler, list[Crawl]] = WeakKeyDictionary()
        self._operations: dict[str, Callable[[str, dict[str, Any]], dict[str, Any] | None]] = {
            "BatchGetCrawlers": self._batch_get,
            "DeleteCrawler": self._before_delete,
            "GetCrawler": lambda region, asked: {"Crawler": self._describe(self._find(region, asked["Name"]))},
            "GetCrawlerMetrics": self._metrics,
            "GetCrawlers": self._get_all,
            "ListCrawls": self._list_crawls,
            "StartCrawler": self._start,
            "StopCrawler": self._stop,
            "UpdateCrawler": self._update,
        }

    def answer(self, request: AwsRequest) -> dict[str, Any] | None:
        operation = self._operations.get(request.operation)
        return operation(request.region, request.parameters()) if operation else None

    def stop(self) -> None:
        """Cancel what runs and wait for it."""
        with self._lock:
            running = [crawl for crawls in self._crawls.values() for crawl in crawls if not crawl.has_ended()]
        for crawl in running:
            crawl.abandon()

    def _find(self, region: str, name: str) -> FakeCrawler:
        crawler = glue_backends[DEFAULT_ACCOUNT_ID][region].crawlers.get(name)
        if crawler is None:
            raise AwsError("EntityNotFoundException", f"Crawler entry with name {name} does not exist")
        return crawler

    def _all(self, region: str) -> list[FakeCrawler]:
        return list(glue_backends[DEFAULT_ACCOUNT_ID][region].crawlers.values())

    def _history(self, crawler: FakeCrawler) -> list[Crawl]:
        return self._crawls.get(crawler, [])

    def _running(self, crawler: FakeCrawler) -> Crawl | None:
        return next((crawl for crawl in self._history(crawler) if not crawl.has_ended()), None)

    def _refuse_while_running(self, crawler: FakeCrawler) -> None:
        if self._running(crawler):
            raise AwsError("CrawlerRunningException", f"Crawler with name {crawler.name} has already started")

    def _start(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        crawler = self._find(region, asked["Name"])
        with self._lock:
            self._refuse_while_running(crawler)
            crawl = Crawl(crawler, self._settings())
            self._crawls.setdefault(crawler, []).append(crawl)
        crawl.start()
        return {}

    def _stop(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        crawler = self._find(region, asked["Name"])
        with self._lock:
            crawl = self._running(crawler)
            if crawl is None:
                raise AwsError("CrawlerNotRunningException", f"Crawler with name {crawler.name} isn't running")
            if crawl.phase == STOPPING:
                raise AwsError("CrawlerStoppingException", f"Crawler with name {crawler.name} is stopping")
            crawl.cancel()
        return {}

    def _update(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        crawler = self._find(region, asked["Name"])
        with self._lock:
            self._refuse_while_running(crawler)
            for name, value in asked.items():
                setattr(crawler, xform_name(name), value)
            crawler.version += 1
        return {}

    def _before_delete(self, region: str, asked: dict[str, Any]) -> None:
        self._refuse_while_running(self._find(region, asked["Name"]))

    def _describe(self, crawler: FakeCrawler) -> dict[str, Any]:
        # Read in this order: a crawl that ends meanwhile is then never READY without being the last one.
        running = self._running(crawler)
        state = running.crawler_state if running else READY
        ended = [crawl for crawl in self._history(crawler) if crawl.has_ended()]
        if running in ended and state != READY:
            ended.remove(running)
        described = {
            **crawler.as_dict(),
            "State": state,
            "CrawlElapsedTime": int(running.seconds * 1000) if running else 0,
            "LastCrawl": ended[-1].last_crawl() if ended else None,
        }
        return _without_none(described)

    def _get_all(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        return {"Crawlers": [self._describe(crawler) for crawler in self._all(region)]}

    def _batch_get(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        known = {crawler.name: crawler for crawler in self._all(region)}
        return {
            "Crawlers": [self._describe(known[name]) for name in asked["CrawlerNames"] if name in known],
            "CrawlersNotFound": [name for name in asked["CrawlerNames"] if name not in known],
        }

    def _metrics(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        names = asked.get("CrawlerNameList") or [crawler.name for crawler in self._all(region)]
        return {"CrawlerMetricsList": [self._metrics_of(self._find(region, name)) for name in names]}

    def _metrics_of(self, crawler: FakeCrawler) -> dict[str, Any]:
        running = self._running(crawler)
        seconds = [crawl.seconds for crawl in self._history(crawler) if crawl.has_ended()]
        last = self._history(crawler)[-1:]
        return {
            "CrawlerName": crawler.name,
            "TimeLeftSeconds": max(0.0, median(seconds) - running.seconds) if running and seconds else 0.0,
            "StillEstimating": running is not None and not seconds,
            "LastRuntimeSeconds": seconds[-1] if seconds else 0.0,
            "MedianRuntimeSeconds": median(seconds) if seconds else 0.0,
            "TablesCreated": sum(crawl.changes.tables_created for crawl in last),
            "TablesUpdated": sum(crawl.changes.tables_updated for crawl in last),
            "TablesDeleted": 0,
        }

    def _list_crawls(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        crawls = self._history(self._find(region, asked["CrawlerName"]))
        newest_first = [_without_none(crawl.history()) for crawl in reversed(crawls)]
        found = selected(newest_first, asked.get("Filters", []))
        first = int(asked.get("NextToken", 0))
        end = first + asked.get("MaxResults", 20)
        return {"Crawls": found[first:end]} | ({"NextToken": str(end)} if end < len(found) else {})


def _without_none(answer: dict[str, Any]) -> dict[str, Any]:
    # JSON services send times as epoch seconds, and leave out what is not set.
    return {
        name: value.timestamp() if isinstance(value, datetime) else value
        for name, value in answer.items()
        if value is not None
    }
