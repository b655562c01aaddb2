"""write_manifest(): the last act of a writer, on simulated S3."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_lockprovider.demo.aws import AwsSimulator
from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness import write_manifest
from airflow_lockprovider.readiness.manifest import Manifest
from airflow_lockprovider.readiness.manifest_entry import ManifestEntry
from airflow_lockprovider.readiness.manifest_writing import ManifestConflict
from tests.simulated_aws import SOURCE, Lake

KEY = "out/_MANIFEST.json"


def _read(s3: Any, key: str = KEY) -> Manifest:
    return Manifest.from_bytes(s3.get_object(Bucket=SOURCE, Key=key)["Body"].read())


def test_it_names_the_newest_version_of_every_object(lake: Lake) -> None:
    keys = ["out/a b+c%20é&ü=1.csv", "out/ds=1/x", "out/part-1"]
    for key in keys:
        lake.source.put_object(Bucket=SOURCE, Key=key, Body=b"old")
    newest = lake.source.put_object(Bucket=SOURCE, Key="out/part-1", Body=b"newer")["VersionId"]
    lake.source.put_object(Bucket=SOURCE, Key="out/deleted", Body=b"x")
    lake.source.delete_object(Bucket=SOURCE, Key="out/deleted")

    written = write_manifest(
        lake.source, SOURCE, KEY, prefix="out/", run_id="r1", written_by="etl/r1/manifest", rows={"out/part-1": 7}
    )

    manifest = _read(lake.source)
    assert [entry.key for entry in manifest.entries] == keys
    assert manifest.entries[2] == ManifestEntry("out/part-1", 5, newest, manifest.entries[2].etag, 7)
    assert (manifest.run_id, manifest.written_by, manifest.prefix) == ("r1", "etl/r1/manifest", "out/")
    assert written.as_dict() == {
        "uri": f"s3://{SOURCE}/{KEY}",
        "objects": 3,
        "size": 11,
        "rows": None,
        "run_id": "r1",
        "was_there": False,
    }


@pytest.mark.parametrize("version_ids", [True, False])
def test_thousand_objects_are_one_request(aws: AwsSimulator, lake: Lake, version_ids: bool) -> None:
    lake.lay(2001, buckets=(SOURCE,))
    written = write_manifest(lake.source, SOURCE, KEY, prefix="out/", version_ids=version_ids)
    assert written.objects == 2001
    listing = "ListObjectVersions" if version_ids else "ListObjectsV2"
    assert aws.requests()["s3"] == {listing: 3, "PutObject": 1}
    assert all(bool(entry.version_id) is version_ids for entry in _read(lake.source).entries)


def test_many_versions_of_few_keys_are_all_looked_through(aws: AwsSimulator, lake: Lake) -> None:
    for _ in range(3):
        lake.lay(501, buckets=(SOURCE,))
    assert write_manifest(lake.source, SOURCE, KEY, prefix="out/").objects == 501
    assert aws.requests()["s3"]["ListObjectVersions"] == 2


def test_only_matching_names_are_taken_and_never_the_manifest_itself(lake: Lake) -> None:
    for key in ("out/a.parquet", "out/_SUCCESS", "out/sub/b.parquet", "out/folder/"):
        lake.source.put_object(Bucket=SOURCE, Key=key, Body=b"x")
    write_manifest(lake.source, SOURCE, KEY, prefix="out/", pattern="*.parquet")
    write_manifest(lake.source, SOURCE, "out/_MANIFEST2.json", prefix="out/", pattern="*")
    assert [entry.key for entry in _read(lake.source).entries] == ["out/a.parquet", "out/sub/b.parquet"]
    assert "out/folder/" not in [entry.key for entry in _read(lake.source, "out/_MANIFEST2.json").entries]
    assert write_manifest(lake.source, SOURCE, KEY, prefix="out/", pattern="*.parquet").was_there


def test_the_same_content_again_is_fine_and_writes_nothing(lake: Lake) -> None:
    lake.write(3)
    first = write_manifest(lake.source, SOURCE, KEY, prefix="out/", run_id="r1")
    again = write_manifest(lake.source, SOURCE, KEY, prefix="out/", run_id="r2")
    assert (first.was_there, again.was_there) == (False, True)
    assert _read(lake.source).run_id == "r1"


def test_a_lost_answer_of_our_own_put_is_no_conflict(aws: AwsSimulator, lake: Lake) -> None:
    lake.write(1)
    # The client repeats the request that got no answer, and then meets its own first one.
    aws.fault("s3.PutObject", "InternalError", times=1)
    assert write_manifest(lake.source, SOURCE, KEY, prefix="out/").objects == 1
    assert _read(lake.source).objects == 1


def test_another_content_is_a_conflict_that_says_who_wrote_it(lake: Lake) -> None:
    lake.write(3)
    write_manifest(lake.source, SOURCE, KEY, prefix="out/", run_id="r1", written_by="etl/r1/manifest")
    lake.write(1, first=3)
    with pytest.raises(
        ManifestConflict,
        match=r"lake/out/_MANIFEST.json was written by etl/r1/manifest in run r1 at .* UTC, and it names 3 objects, "
        r"this run 4; the first that differs is out/part-00003.*replace='same_run'",
    ) as caught:
        write_manifest(lake.source, SOURCE, KEY, prefix="out/", run_id="r2")
    assert caught.value.existing == _read(lake.source)
    assert _read(lake.source).objects == 3


def test_a_run_may_replace_its_own_manifest_only(lake: Lake) -> None:
    lake.write(3)
    write_manifest(lake.source, SOURCE, KEY, prefix="out/", run_id="r1")
    lake.write(1, first=3)
    with pytest.raises(ManifestConflict):
        write_manifest(lake.source, SOURCE, KEY, prefix="out/", run_id="r2", replace="same_run")
    assert write_manifest(lake.source, SOURCE, KEY, prefix="out/", run_id="r1", replace="same_run").objects == 4
    assert _read(lake.source).objects == 4


def test_a_write_in_between_is_noticed_while_replacing(aws: AwsSimulator, lake: Lake) -> None:
    lake.write(1)
    write_manifest(lake.source, SOURCE, KEY, prefix="out/", run_id="r1")
    lake.write(1, first=1)

    class Racing:
        """Another run writes right after we have read."""

        def __getattr__(self, name: str) -> Any:
            return getattr(lake.source, name)

        def get_object(self, **asked: Any) -> Any:
            answer = lake.source.get_object(**asked)
            body = answer["Body"].read()
            content = Manifest([ManifestEntry("x", 1)], bucket=SOURCE, run_id="r9", written_by="the other").to_bytes()
            lake.source.put_object(Bucket=SOURCE, Key=KEY, Body=content)
            return answer | {"Body": type("Body", (), {"read": lambda _: body})()}

    racing = Racing()
    with pytest.raises(ManifestConflict, match="written by the other in run r9"):
        write_manifest(racing, SOURCE, KEY, prefix="out/", run_id="r1", replace="same_run")
    assert _read(lake.source).run_id == "r9"


def test_something_else_under_that_key_is_left_alone(lake: Lake) -> None:
    lake.write(1)
    lake.source.put_object(Bucket=SOURCE, Key=KEY, Body=b"hello")
    with pytest.raises(ManifestConflict, match=r"somebody who left no name.*is no manifest"):
        write_manifest(lake.source, SOURCE, KEY, prefix="out/")


def test_an_empty_prefix_writes_no_manifest(lake: Lake) -> None:
    with pytest.raises(ConfigurationError, match=r"holds 0 objects like '\*', at least 1"):
        write_manifest(lake.source, SOURCE, KEY, prefix="out/")
    with pytest.raises(ClientError, match="NoSuchKey"):
        _read(lake.source)
    assert write_manifest(lake.source, SOURCE, KEY, prefix="out/", min_objects=0).objects == 0


def test_a_key_that_ends_in_gz_is_packed(lake: Lake) -> None:
    lake.write(3)
    write_manifest(lake.source, SOURCE, f"{KEY}.gz", prefix="out/")
    packed = lake.source.get_object(Bucket=SOURCE, Key=f"{KEY}.gz")["Body"].read()
    assert json.loads(gzip.decompress(packed))["objects"] == 3
    assert _read(lake.source, f"{KEY}.gz").objects == 3


def test_the_writer_can_name_what_it_wrote_itself(aws: AwsSimulator, lake: Lake) -> None:
    objects = [ManifestEntry("out/b", 2, rows=4), ManifestEntry("out/a", 1, rows=3)]
    written = write_manifest(lake.source, SOURCE, KEY, objects=objects)
    assert (written.objects, written.size, written.rows) == (2, 3, 7)
    assert aws.requests()["s3"] == {"PutObject": 1}


def test_row_counts_of_unknown_keys_are_refused(lake: Lake) -> None:
    lake.write(1)
    with pytest.raises(ConfigurationError, match="rows names 'out/part-1', which is not among the 1 objects"):
        write_manifest(lake.source, SOURCE, KEY, prefix="out/", rows={"out/part-1": 1})


def test_a_manifest_for_redshift_lies_beside_it(lake: Lake) -> None:
    lake.write(2)
    for _ in range(2):  # also the second is the same again
        write_manifest(lake.source, SOURCE, KEY, prefix="out/", copy_manifest_key="copy/_COPY.json")
    copy = json.loads(lake.source.get_object(Bucket=SOURCE, Key="copy/_COPY.json")["Body"].read())
    assert copy == {
        "entries": [
            {"url": f"s3://{SOURCE}/out/part-0000{n}", "mandatory": True, "meta": {"content_length": n + 1}}
            for n in range(2)
        ]
    }


def test_another_refusal_of_s3_is_not_swallowed(aws: AwsSimulator, lake: Lake) -> None:
    lake.write(1)
    aws.fault("s3.PutObject", "AccessDenied")
    with pytest.raises(ClientError, match="AccessDenied"):
        write_manifest(lake.source, SOURCE, KEY, prefix="out/")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"key": ""}, "needs both"),
        ({"replace": "always"}, "must be 'never' or 'same_run'"),
        ({"replace": "same_run"}, "needs a run_id"),
    ],
)
def test_nonsense_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        write_manifest(None, SOURCE, **{"key": KEY, **wrong})


def test_a_spark_step_can_import_it_without_airflow_and_boto3() -> None:
    code = (
        "import sys; from airflow_lockprovider.readiness import write_manifest; "
        "print([name for name in ('airflow', 'boto3', 'sqlalchemy', 'psycopg') if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert printed.stdout.strip() == "[]"
