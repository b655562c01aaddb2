from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.manifest import Manifest
from airflow_lockprovider.readiness.manifest_entry import ManifestEntry

ENTRIES = [
    ManifestEntry("out/ü b+c&d\n", 7, version_id="v1", etag="e", rows=3),
    ManifestEntry("out/a", 5, rows=2),
]
MANIFEST = Manifest(ENTRIES, bucket="lake", prefix="out/", run_id="r1", written_by="dag/run", written_at="2026-01-31")


@pytest.mark.parametrize("packed", [False, True])
def test_a_manifest_survives_the_way_through_bytes(packed: bool) -> None:
    assert Manifest.from_bytes(MANIFEST.to_bytes(gzip=packed)) == MANIFEST


def test_the_same_manifest_gives_the_same_bytes() -> None:
    again = Manifest(list(reversed(ENTRIES)), **{**_about(), "bucket": "lake"})
    assert again.to_bytes(gzip=True) == MANIFEST.to_bytes(gzip=True)


def test_a_manifest_counts_and_sorts() -> None:
    assert (MANIFEST.objects, MANIFEST.size, MANIFEST.rows) == (2, 12, 5)
    assert [entry.key for entry in MANIFEST.entries] == ["out/a", "out/ü b+c&d\n"]
    assert Manifest([ManifestEntry("a", 1), ManifestEntry("b", 1, rows=1)], "lake").rows is None


def test_redshift_can_read_it_and_we_can_read_redshifts() -> None:
    document = json.loads(MANIFEST.copy_manifest_bytes())
    assert document["entries"][0] == {"url": "s3://lake/out/a", "mandatory": True, "meta": {"content_length": 5}}
    read = Manifest.from_bytes(MANIFEST.copy_manifest_bytes())
    assert read.bucket == "lake"
    assert [(entry.key, entry.size) for entry in read.entries] == [("out/a", 5), ("out/ü b+c&d\n", 7)]


def test_row_counts_of_unload_are_kept() -> None:
    entry = {"url": "s3://lake/out/0000_part_00.parquet", "meta": {"content_length": 8, "record_count": 4}}
    assert Manifest.from_bytes(json.dumps({"entries": [entry]}).encode()).rows == 4


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a manifest"),
        (b"[1]", "a list"),
        (gzip.compress(MANIFEST.to_bytes())[:-9], "too early"),
        (b"\x1f\x8bgarbage", "not a manifest"),
        (b"\xff\xfe", "not a manifest"),
        (MANIFEST.to_bytes().replace(b'"version":1', b'"version":2'), "this release reads"),
        (MANIFEST.to_bytes().replace(b'"objects":2', b'"objects":3'), "says 3 objects and holds 2"),
        (MANIFEST.to_bytes().replace(b'"size":5', b'"size":"5"'), "size='5' must be bytes"),
        (MANIFEST.to_bytes().replace(b'"size":5', b'"syze":5'), "incomplete"),
        (b'{"entries": ["s3://lake/a"]}', "incomplete"),
        (b'{"entries": [{"url": "s3://lake/a"}]}', "MANIFEST VERBOSE"),
        (b'{"entries": [{"url": "file:///a", "meta": {"content_length": 1}}]}', "s3://bucket/key"),
    ],
)
def test_what_is_no_manifest_is_refused_with_the_reason(content: bytes, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Manifest.from_bytes(content)


def test_a_key_named_twice_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'a' twice"):
        Manifest([ManifestEntry("a", 1), ManifestEntry("a", 2)], bucket="lake")


def _about() -> dict[str, Any]:
    return {name: getattr(MANIFEST, name) for name in ("bucket", "prefix", "run_id", "written_by", "written_at")}
