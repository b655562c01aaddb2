"""Objects in columns."""

from __future__ import annotations

import gc
import json
import tracemalloc

import pytest

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.identity import Identity
from airflow_lockprovider.readiness.manifest_entry import ManifestEntry
from airflow_lockprovider.readiness.manifest_reader import ManifestReader
from airflow_lockprovider.readiness.replication_expected import rows_of
from airflow_lockprovider.readiness.rows import Row, Rows

MB = 1 << 20


def rows(*keys: str, size: int = 1, mark: str = "") -> Rows:
    return Rows.of(Row(key, size, mark, float(at)) for at, key in enumerate(keys))


def test_they_are_a_sequence_of_rows() -> None:
    some = rows("a", "b", "c")
    assert (len(some), some[1], some[-1].key) == (3, Row("b", 1, "", 1.0), "c")
    assert [row.key for row in some] == ["a", "b", "c"]
    assert some[1:] == Rows.of([Row("b", 1, "", 1.0), Row("c", 1, "", 2.0)])
    assert not Rows()
    assert list(Rows.of([])) == []


def test_a_range_has_no_lower_and_an_upper_end() -> None:
    assert rows("a", "b", "c", "d").between("a", "c").keys == ["b", "c"]
    assert len(rows("a", "b").between("b", "z")) == 0


def test_another_size_or_mark_is_missing() -> None:
    wanted = rows("a", "b", "c", size=2, mark="v1")
    assert wanted.missing_in(rows("a", "b", "c", "d", size=2, mark="v1")).keys == []
    assert wanted.missing_in(rows("b", size=2, mark="v1")).keys == ["a", "c"]
    assert wanted.missing_in(rows("a", "b", "c", size=3, mark="v1")).keys == ["a", "b", "c"]
    assert wanted.missing_in(rows("a", "b", "c", size=2, mark="v2")).keys == ["a", "b", "c"]


def test_the_oldest_come_by_time_then_by_key() -> None:
    some = Rows.of([Row("a", 1, "", 5.0), Row("b", 1, "", 1.0), Row("c", 1, "", 5.0), Row("d", 1, "", 9.0)])
    assert [row.key for row in some.oldest(3)] == ["b", "a", "c"]


def test_they_share_a_prefix() -> None:
    assert rows("out/a/1", "out/a/2", "out/b").prefix == "out/"
    assert rows("out/a").prefix == "out/a"
    assert Rows().prefix == ""


def test_parts_are_joined_and_cut() -> None:
    parts = list(rows(*"abcdefg").in_lists_of(3))
    assert [list(part.keys) for part in parts] == [["a", "b", "c"], ["d", "e", "f"], ["g"]]
    assert Rows.joined(parts) == rows(*"abcdefg")
    assert Rows.joined([Rows(), Rows()]) == Rows()


def test_a_manifest_in_any_order_is_sorted_and_a_key_named_twice_refused() -> None:
    entries = [ManifestEntry("b", 2), ManifestEntry("a", 1), ManifestEntry("ä", 3)]
    assert rows_of(entries, Identity()) == Rows(["a", "b", "ä"], [1, 2, 3], ["", "", ""], [0.0, 0.0, 0.0])
    with pytest.raises(ConfigurationError, match="'b' twice"):
        rows_of([*entries, ManifestEntry("b", 2)], Identity())


def test_they_give_the_search_for_garbage_nothing_to_do() -> None:
    # What it has to look through for each row held is what holds up the loop of a triggerer.
    gc.collect()
    before = len(gc.get_objects())
    held = [Rows([f"{page}/{at}" for at in range(1000)], range(1000), [""] * 1000, [0.0] * 1000) for page in range(20)]
    assert len(gc.get_objects()) - before < 20 * len(held)


def test_a_manifest_of_100_000_objects_is_read_in_less_than_40_mb() -> None:
    entry = '{{"key":"out/year=2026/month=01/day=31/part-{:06d}-0123456789abcdef.snappy.parquet","size":{}}}'
    entries = ",".join(entry.format(at, 100_000 + at) for at in range(100_000))
    text = f'{{"format":"airflow_lockprovider.manifest","version":1,"entries":[{entries}]}}'.encode()
    assert json.loads(text)["entries"][7]["size"] == 100_007
    pieces = [text[at : at + MB] for at in range(0, len(text), MB)]
    del entries, text
    tracemalloc.start()
    try:
        found = rows_of(ManifestReader(iter(pieces)), Identity())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == 100_000
    assert peak < 40 * MB
