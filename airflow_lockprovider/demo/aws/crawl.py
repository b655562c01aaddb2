"""One run of a Glue crawler: it starts, looks at S3, takes its time, writes to the catalog, ends.

Times are exact here. AWS shows crawls in whole seconds, which is enough for crawls that take a minute.
"""

from __future__ import annotations

import time
import uuid
from threading import Event, Thread
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.glue.models import FakeCrawler, glue_backends

from airflow_lockprovider.demo.aws import catalog
from airflow_lockprovider.demo.aws.catalog import CatalogChanges, FoundTable
from airflow_lockprovider.demo.aws.settings import Settings, matches

READY = "READY"
STARTING, RUNNING, STOPPING = "STARTING", "RUNNING", "STOPPING"
SUCCEEDED, CANCELLED, FAILED = "SUCCEEDED", "CANCELLED", "FAILED"

_CRAWLER_STATES = {STARTING: READY, RUNNING: RUNNING, STOPPING: STOPPING}
_HISTORY_STATES = {SUCCEEDED: "COMPLETED", CANCELLED: "STOPPED", FAILED: "FAILED"}


class Crawl:
    """Runs in its own thread. ``phase`` is set last at each step, so whoever reads it first sees the rest complete."""

    def __init__(self, crawler: FakeCrawler, settings: Settings) -> None:
        self.crawl_id = str(uuid.uuid4())
        self.started_at = time.time()
        self.ended_at: float | None = None
        self.error: str | None = None
        self.changes = CatalogChanges()
        self.phase = STARTING if settings.crawl_start_lag else RUNNING
        self._crawler = crawler
        self._settings = settings
        self._cancelled = Event()
        self._abandoned = Event()
        self._thread = Thread(target=self._run, name=f"crawl-{crawler.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def cancel(self) -> None:
        self.phase = STOPPING
        self._cancelled.set()

    def abandon(self) -> None:
        """The simulation ends: don't even take the time to stop."""
        self._abandoned.set()
        self.cancel()
        self._thread.join()

    def has_ended(self) -> bool:
        return self.phase in _HISTORY_STATES

    @property
    def crawler_state(self) -> str:
        """What GetCrawler says while this crawl is the current one: during a start lag, the state before."""
        return _CRAWLER_STATES.get(self.phase, READY)

    @property
    def seconds(self) -> float:
        return (self.ended_at or time.time()) - self.started_at

    def last_crawl(self) -> dict[str, Any]:
        return {"Status": self.phase, "ErrorMessage": self.error, **self._log()}

    def history(self) -> dict[str, Any]:
        return {
            "CrawlId": self.crawl_id,
            "State": _HISTORY_STATES.get(self.phase, "RUNNING"),
            "EndTime": self.ended_at,
            "ErrorMessage": self.error,
            "DPUHour": round(self.seconds / 3600, 6),
            **self._log(),
        }

    def _log(self) -> dict[str, Any]:
        return {
            "StartTime": self.started_at,
            "LogGroup": "/aws-glue/crawlers",
            "LogStream": self._crawler.name,
            "MessagePrefix": self.crawl_id,
        }

    def _run(self) -> None:
        outcome = SUCCEEDED
        try:
            self._cancelled.wait(self._settings.crawl_start_lag)
            if not self._cancelled.is_set():
                self.started_at = time.time()
                self.phase = RUNNING
                found = self._look()
            cancelled = self._cancelled.wait(self._settings.crawl_duration)
            self.phase = STOPPING
            if cancelled:
                outcome = CANCELLED
            else:
                self._write(found)
            self._abandoned.wait(self._settings.crawl_stopping)
        except Exception as error:
            # A crawl that breaks ends as FAILED with its reason, as on AWS; nobody else would see this thread's error.
            outcome, self.error = FAILED, f"{type(error).__name__}: {error}"
        self.ended_at = time.time()
        self.phase = outcome

    def _look(self) -> list[FoundTable]:
        if matches(self._settings.crawl_fail, self._crawler.name):
            raise catalog.CannotCrawl("scripted by the setting crawl_fail")
        paths = [target["Path"] for target in self._crawler.targets.get("S3Targets", [])]
        found = (catalog.look_at(path, self._crawler.table_prefix or "", self._settings.crawl_skip) for path in paths)
        return [table for table in found if table is not None]

    def _write(self, found: list[FoundTable]) -> None:
        glue = glue_backends[DEFAULT_ACCOUNT_ID][self._crawler.backend.region_name]
        self.changes = catalog.write(glue, self._crawler.database_name, self._crawler.name, found)
