"""The fast reader gives what botocore gives: for pages of every kind, through a real client and its events."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote_plus
from xml.sax.saxutils import escape

import boto3
import pytest
from botocore.awsrequest import AWSResponse

from airflow_lockprovider.aws import list_pages
from airflow_lockprovider.aws.list_pages import LEAN, speed_up

HOSTILE = [
    "out/plain",
    "out/ü/漢字/😀",
    "out/a b",
    "out/a+b",
    "out/a%2Bb%20c",
    "out/new\nline\r\nand\ttab",
    "out/a&b&amp;c&lt;",
    "out/<Contents>",
    "out/</Key><Size>1</Size>",
    "out/]]>",
    "out/\x01\x7f\x85",
    "out/\"quoted'",
    "out/" + "x" * 1000,
    " out/leading and trailing ",
]
TIME = "<LastModified>2026-01-31T06:00:00.000Z</LastModified>"


SAID = (
    "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>"
    "<Owner><ID>abc</ID></Owner><StorageClass>STANDARD</StorageClass>"
)


def content(key: str, more: str = "", *, tag: str = "Contents", encode: bool = True) -> str:
    name = quote_plus(key, safe="/") if encode else escape(key)
    return f"<{tag}><Key>{name}</Key>{TIME}<ETag>&quot;e-1&quot;</ETag><Size>7</Size>{more}</{tag}>"


def page(rows: str, *, encoding: bool = True, root: str = "ListBucketResult", prolog: str = "UTF-8") -> bytes:
    declared = "<EncodingType>url</EncodingType>" if encoding else ""
    text = (
        f'<?xml version="1.0" encoding="{prolog}"?>\n<{root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>lake</Name><Prefix>out%2F</Prefix><KeyCount>3</KeyCount><MaxKeys>1000</MaxKeys>"
        f"<IsTruncated>false</IsTruncated>{rows}{declared}</{root}>"
    )
    return text.encode(prolog)


class Answers:
    """Answers every request of a client with one body, and no network."""

    def __init__(self, body: bytes, status: int = 200) -> None:
        self.body, self.status = body, status

    def __call__(self, request: Any, **_: Any) -> AWSResponse:
        raw = SimpleNamespace(stream=lambda *_, **__: iter([self.body]), read=lambda *_: self.body)
        return AWSResponse(request.url, self.status, {"content-type": "application/xml"}, raw)


def client_for(body: bytes, status: int = 200) -> Any:
    client = boto3.client("s3", region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x")
    client.meta.events.register("before-send.s3.*", Answers(body, status))
    return client


def both(body: bytes, operation: str = "list_objects_v2") -> tuple[dict[str, Any], dict[str, Any], bool]:
    """The answer of botocore, ours, and whether ours was read the fast way."""
    theirs = getattr(client_for(body), operation)(Bucket="lake", Prefix="out/")
    client, fast = speed_up(client_for(body)), []
    client.meta.events.register_last(
        f"before-parse.s3.{client.meta.method_to_api_mapping[operation]}",
        lambda customized_response_dict, **_: fast.append(bool(customized_response_dict)),
    )
    return theirs, getattr(client, operation)(Bucket="lake", Prefix="out/"), fast == [True]


def rows_of(keys: Sequence[str]) -> str:
    return "".join(content(key) for key in keys)


@pytest.mark.parametrize("encoding", [True, False])
def test_hostile_keys_are_read_as_botocore_reads_them(encoding: bool) -> None:
    keys = HOSTILE if encoding else [key for key in HOSTILE if key.isprintable()]
    theirs, ours, fast = both(page("".join(content(key, encode=encoding) for key in keys), encoding=encoding))
    assert fast
    assert ours == theirs
    assert [row["Key"] for row in ours["Contents"]] == keys


@pytest.mark.parametrize(
    "more",
    [
        "<StorageClass>STANDARD</StorageClass>",
        "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>",
        "<ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumAlgorithm>SHA256</ChecksumAlgorithm>",
        "<Owner><ID>abc</ID><DisplayName>Jos&#233; &#x1F600;</DisplayName></Owner>",
        "\n  <StorageClass></StorageClass>\n",
    ],
)
def test_what_s3_says_about_an_object_is_kept(more: str) -> None:
    theirs, ours, fast = both(page(rows_of(["out/a"]) + content("out/b", more)))
    assert fast
    assert ours == theirs


def test_lean_rows_are_a_part_of_botocores() -> None:
    body = page("".join(content(key, SAID) for key in HOSTILE))
    theirs = client_for(body).list_objects_v2(Bucket="lake")
    ours = speed_up(client_for(body), members=LEAN).list_objects_v2(Bucket="lake")
    wanted = {"Key", "Size", "LastModified", "ETag"}
    assert ours["Contents"] == [{name: row[name] for name in wanted} for row in theirs["Contents"]]
    assert {**ours, "Contents": None} == {**theirs, "Contents": None}


@pytest.mark.parametrize("key", ["a=1/b=2", "a=1/b+c", "a=%3D", "a=100%/b", "%2B", "a%3Db", "=%25=", "plain"])
@pytest.mark.parametrize("encoding", [True, False])
def test_lean_keys_are_decoded_as_often_as_botocore_decodes_them(key: str, encoding: bool) -> None:
    body = page(content(key, SAID, encode=encoding), encoding=encoding)
    (theirs,) = client_for(body).list_objects_v2(Bucket="lake")["Contents"]
    (ours,) = speed_up(client_for(body), members=LEAN).list_objects_v2(Bucket="lake")["Contents"]
    assert ours["Key"] == theirs["Key"] == key


def test_lean_rows_give_the_search_for_garbage_nothing_to_do() -> None:
    client = speed_up(client_for(page("".join(content(f"out/{at}", SAID) for at in range(1000)))), members=LEAN)
    client.list_objects_v2(Bucket="lake")
    gc.collect()
    before = len(gc.get_objects())
    held = client.list_objects_v2(Bucket="lake")["Contents"]
    assert len(gc.get_objects()) - before < len(held) / 10


@pytest.mark.parametrize(
    "rows",
    [
        "",
        content("out/a", "<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress></RestoreStatus>"),
        content("out/a", "<SomethingNew>1</SomethingNew>"),
        content("out/a", '<StorageClass kind="x">STANDARD</StorageClass>'),
        content("out/a", "<StorageClass/>"),
        content("out/a", "stray text"),
        content("out/a", "<!-- <Contents> -->"),
        content("out/a", "<StorageClass><![CDATA[STANDARD]]></StorageClass>"),
        content("out/a").replace("2026-01-31T06:00:00.000Z", "Sat, 31 Jan 2026 06:00:00 GMT"),
        content("out/a").replace("<Contents>", '<Contents x="1">'),
        content("out/a").replace("<Key>out/a</Key>", "<Key>out/a\r\nb</Key>"),
    ],
)
def test_a_page_with_anything_unexpected_is_left_to_botocore(rows: str) -> None:
    theirs, ours, fast = both(page(rows + content("out/z") if rows else rows))
    assert not fast
    assert ours == theirs


def test_another_encoding_is_left_to_botocore() -> None:
    theirs, ours, fast = both(page(content("out/e"), prolog="ISO-8859-1"))
    assert not fast
    assert ours == theirs


@pytest.mark.parametrize(
    "broken",
    [
        page(rows_of(["out/a", "out/b"]))[:-150],
        page(rows_of(["out/a"])).replace(b"<Size>7", b"<Size>seven"),
        page(rows_of(["out/a"])).replace(b"<Key>out/a", b"<Key>&#1;"),
        page(rows_of(["out/a"])).replace(b"<Key>out/a", b"<Key>a & b"),
        page(rows_of(["out/a"])).replace(b"<Key>out/a", b"<Key>\xff"),
        page(content("out/\u00e9", encode=False), prolog="ISO-8859-1"),
    ],
)
def test_a_broken_page_is_the_same_error_as_without_us(broken: bytes) -> None:
    errors = []
    for client in (client_for(broken), speed_up(client_for(broken))):
        with pytest.raises(Exception, match=r"\w") as caught:
            client.list_objects_v2(Bucket="lake")
        errors.append(type(caught.value))
    assert errors[0] is errors[1]


def test_an_error_answer_is_left_alone() -> None:
    body = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
    with pytest.raises(Exception, match="AccessDenied"):
        speed_up(client_for(body, 403)).list_objects_v2(Bucket="lake")


def test_versions_are_read_as_botocore_reads_them_between_delete_markers() -> None:
    def version(key: str, latest: str) -> str:
        more = f"<VersionId>v.{latest}</VersionId><IsLatest>{latest}</IsLatest><Owner><ID>abc</ID></Owner>"
        return content(key, more, tag="Version")

    marker = f"<DeleteMarker><Key>out/gone</Key><VersionId>m</VersionId><IsLatest>true</IsLatest>{TIME}</DeleteMarker>"
    body = page(version("out/a b", "true") + marker + version("out/a b", "false"), root="ListVersionsResult")
    theirs, ours, fast = both(body, "list_object_versions")
    assert fast
    assert ours == theirs
    assert [each["IsLatest"] for each in ours["Versions"]] == [True, False]
    assert len(ours["DeleteMarkers"]) == 1


def test_speeding_up_twice_is_speeding_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Any] = []
    real = list_pages._row
    monkeypatch.setattr(list_pages, "_row", lambda body, members: (reads.append(body), real(body, members))[1])
    speed_up(speed_up(client_for(page(rows_of(["out/a"]))))).list_objects_v2(Bucket="lake")
    assert len(reads) == 1


def test_a_full_page_costs_less_than_half_the_time() -> None:
    checksum = "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>"
    body = page("".join(content(f"out/part-{at:05d}.parquet", checksum) for at in range(1000)))

    def best(client: Any) -> float:
        times = []
        for _ in range(5):
            start = time.thread_time()
            assert len(client.list_objects_v2(Bucket="lake")["Contents"]) == 1000
            times.append(time.thread_time() - start)
        return min(times)

    assert best(speed_up(client_for(body))) < best(client_for(body)) / 2
