from __future__ import annotations

from typing import Any

import pytest

from airflow_lockprovider.exceptions import ConfigurationError
from airflow_lockprovider.readiness.partition_name import (
    MAX_PARTITIONS,
    name_of,
    partition_of,
    partitions_of,
    values_of,
)
from airflow_lockprovider.readiness.s3_location import S3Location
from airflow_lockprovider.sensors.partitions import check_partitions, read_partitions

KEYS = ["year", "month"]


@pytest.mark.parametrize(
    "written",
    ["year=2026/month=01", "/year=2026/month=01/", "Month=01/YEAR=2026", {"month": "01", "year": 2026}, ["2026", "01"]],
)
def test_one_partition_can_be_written_in_several_ways(written: Any) -> None:
    assert values_of(partition_of(written), KEYS) == ["2026", "01"]


def test_what_a_folder_escapes_is_the_plain_value_in_the_catalog() -> None:
    assert partition_of("at=2026-01-31 06%3A00/who=a%2Fb") == {"at": "2026-01-31 06:00", "who": "a/b"}


@pytest.mark.parametrize(
    "written", ["2026", "year=", "=2026", "", {}, [], [""], [None], [1.5], {"year": True}, 7, None]
)
def test_what_is_no_partition_is_refused_with_the_form(written: Any) -> None:
    with pytest.raises(ConfigurationError, match="write 'year=2026/month=01'"):
        partition_of(written)


@pytest.mark.parametrize("written", [["2026"], ["2026", "01", "31"], "year=2026", "year=2026/day=01"])
def test_what_does_not_fit_the_table_is_refused_with_its_keys(written: Any) -> None:
    with pytest.raises(ConfigurationError, match="partition keys year, month"):
        values_of(partition_of(written), KEYS)


def test_a_partition_is_named_as_its_folder() -> None:
    assert name_of(["2026", "01"], KEYS) == "year=2026/month=01"
    assert name_of(["2026", "01"]) == "2026/01"


def test_several_are_each_taken_once_and_are_not_too_many() -> None:
    assert len(partitions_of(["year=2026", {"year": "2026"}, "year=2027"])) == 2
    with pytest.raises(ConfigurationError, match="split them over several tasks"):
        partitions_of([["x", str(number)] for number in range(MAX_PARTITIONS + 1)])


@pytest.mark.parametrize(
    ("rendered", "first"),
    [
        (["year=2026"], {"year": "2026"}),
        ("['year=2026']", {"year": "2026"}),
        ('[["2026", "01"]]', ["2026", "01"]),
        ("[{'who': \"O'Hara\"}]", {"who": "O'Hara"}),
    ],
)
def test_a_template_may_give_a_list_as_text(rendered: Any, first: Any) -> None:
    assert read_partitions(rendered)[0] == first


def test_a_template_that_gives_no_list_is_an_error_with_its_text() -> None:
    with pytest.raises(ConfigurationError, match="'year=2026' is not a list after rendering"):
        read_partitions("year=2026")


def test_templates_are_let_through_when_the_dag_is_parsed() -> None:
    check_partitions("{{ params.partitions }}")
    check_partitions(["year={{ ds[:4] }}/month={{ ds[5:7] }}", ["{{ ds }}"]])


@pytest.mark.parametrize(
    ("location", "under", "is_under"),
    [
        ("s3://lake/sales/month=1/", "s3://lake/sales", True),
        ("s3a://lake/sales", "s3://lake/sales/", True),
        ("s3://lake/sales_old/month=1", "s3://lake/sales", False),
        ("s3://lake-2/sales/", "s3://lake/sales/", False),
        ("s3://lake/any", "s3://lake", True),
    ],
)
def test_a_folder_is_not_its_neighbour_with_a_longer_name(location: str, under: str, is_under: bool) -> None:
    assert S3Location.parse(location).is_under(S3Location.parse(under)) is is_under


@pytest.mark.parametrize("written", ["lake/sales", "https://lake/sales", "s3://", "s3:///sales"])
def test_what_is_no_address_in_s3_is_refused(written: str) -> None:
    with pytest.raises(ConfigurationError, match="write s3://bucket/path"):
        S3Location.parse(written)
