from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from fake_aws import FakeClock, FakeGlue

from airflow_lockprovider.exceptions import ConfigurationError
from airflow_lockprovider.readiness.crawl import CrawlProbe
from airflow_lockprovider.readiness.partition import PartitionProbe
from airflow_lockprovider.readiness.verdict import Status


class Catalog:
    """A table by year; ``answers`` says for how many of the wanted keys each request is answered."""

    def __init__(self, *years: str, answers: int = 1000) -> None:
        self.years, self.answers, self.requests = set(years), answers, 0

    def get_table(self, **_: Any) -> dict[str, Any]:
        return {"Table": {"PartitionKeys": [{"Name": "year"}]}}

    def batch_get_partition(self, *, PartitionsToGet: list[dict[str, Any]], **_: Any) -> dict[str, Any]:
        self.requests += 1
        answered = PartitionsToGet[: self.answers]
        there = [one["Values"] for one in answered if one["Values"][0] in self.years]
        return {
            "Partitions": [
                {"Values": values, "StorageDescriptor": {"Location": f"s3://lake/year={values[0]}"}} for values in there
            ],
            "UnprocessedKeys": PartitionsToGet[self.answers :],
        }


def probe_of(catalog: Any, *years: str, **settings: Any) -> PartitionProbe:
    partitions = [[year] for year in years]
    given = {"database": "db", "table": "sales", "not_empty": False, "check_region": False, **settings}
    return PartitionProbe({"glue": catalog}, partitions=partitions, **given)


def test_keys_are_asked_for_as_long_as_some_are_answered() -> None:
    catalog = Catalog("1", "2", "3", "4", "5", answers=1)
    verdict = probe_of(catalog, "1", "2", "3", "4", "5").begin()
    assert (verdict.status, verdict.arrived, catalog.requests) == (Status.READY, 5, 5)


def test_keys_that_nobody_answers_for_are_not_missing_but_unknown() -> None:
    catalog = Catalog("1", answers=0)
    verdict = probe_of(catalog, "1").begin()
    assert (verdict.status, catalog.requests) == (Status.WAIT, 3)
    assert "year=1 was left unprocessed by Glue" in verdict.reason


def test_a_crawl_is_not_blamed_for_what_glue_left_unprocessed() -> None:
    clock = FakeClock()
    glue = FakeGlue(clock)
    catalog = Catalog("1", answers=0)
    names = ("get_crawler", "start_crawler")
    both = SimpleNamespace(
        get_table=catalog.get_table,
        batch_get_partition=catalog.batch_get_partition,
        **{name: getattr(glue, name) for name in names},
    )
    expected = {"database": "db", "table": "sales", "partitions": [["1"]], "not_empty": False, "check_region": False}
    probe = CrawlProbe({"glue": both}, crawler_name="sales", expected=expected)
    probe.begin()
    clock.sleep(60)
    assert [probe.step().status for _ in range(4)] == [Status.WAIT] * 4
    catalog.answers = 10
    assert probe.step().status is Status.READY


def test_partitions_that_a_crawl_has_left_out_are_looked_for_twice() -> None:
    clock = FakeClock()
    glue = FakeGlue(clock)
    catalog = Catalog()
    both = SimpleNamespace(
        get_table=catalog.get_table,
        batch_get_partition=catalog.batch_get_partition,
        get_crawler=glue.get_crawler,
        start_crawler=glue.start_crawler,
    )
    expected = {"database": "db", "table": "sales", "partitions": [["1"]], "not_empty": False, "check_region": False}
    probe = CrawlProbe({"glue": both}, crawler_name="sales", expected=expected)
    probe.begin()
    clock.sleep(60)
    first = probe.step()
    again = CrawlProbe({"glue": both}, crawler_name="sales", expected=expected)
    again.restore(probe.state())  # another process takes the second look
    second = again.step()
    assert [first.status, second.status] == [Status.WAIT, Status.FAILED]
    assert "year=1 is not in the catalog. Crawlers skip folders" in second.reason


def test_what_was_found_is_remembered_in_another_process() -> None:
    catalog = Catalog("1")
    first = probe_of(catalog, "1", "2")
    first.begin()
    again = probe_of(catalog, "1", "2")
    again.restore(first.state())
    catalog.years = {"2"}  # the other one is not asked for again
    verdict = again.step()
    assert (verdict.status, verdict.arrived) == (Status.READY, 2)


def test_many_missing_ones_are_counted_and_a_few_are_named() -> None:
    years = [str(year) for year in range(1, 21)]
    verdict = probe_of(Catalog("20"), *years).begin()
    assert (verdict.expected, verdict.arrived, len(verdict.missing_sample)) == (20, 1, 10)
    assert "year=3 is not in the catalog; and 16 more" in verdict.reason


def test_a_time_of_writing_needs_the_files() -> None:
    with pytest.raises(ConfigurationError, match="not_empty=True"):
        probe_of(Catalog(), "1", min_update_time="2026-01-31T06:00:00+00:00")
