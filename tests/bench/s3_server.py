"""A small S3 that answers as fast as it is told to: two buckets with the same objects. Its own process, so that its
work is not counted as the client's.

It knows the few reading operations that the measured clients use, in AWS's own XML. ``GET /_counts`` tells how often
each was asked for, and begins to count anew.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
from bisect import bisect_right
from collections import Counter
from email.utils import formatdate
from urllib.parse import parse_qs, quote, unquote, urlsplit

BUCKETS = ("lake", "lake-replica")
PREFIX = "out/"
MANIFEST = "_MANIFEST.json"
PAGE = 1000
WRITTEN = "2026-01-01T00:00:00.000Z"
_XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
_XMLNS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_ENCRYPTION = (
    f"{_XML}<ServerSideEncryptionConfiguration {_XMLNS}><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256"
    "</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>"
)


def key(number: int) -> str:
    """The name of an object, as a Spark job would give it."""
    return f"{PREFIX}year=2026/month={number % 12 + 1:02d}/part-{number:07d}.snappy.parquet"


def size(number: int) -> int:
    return 1000 + number % 977


class Server:
    """``missing``: so many of the last objects are not in the replica yet."""

    def __init__(self, objects: int, latency: float, missing: int) -> None:
        self.latency = latency
        self.counts: Counter[str] = Counter()
        rows = sorted((key(number), size(number)) for number in range(objects))
        self.keys = {
            "lake": [name for name, _ in rows],
            "lake-replica": [name for name, _ in rows[: objects - missing]],
        }
        self.rows = [_row(name, count).encode() for name, count in rows]
        self.sizes = dict(rows)
        entries = [{"key": name, "size": count} for name, count in rows]
        document = {"format": "airflow_lockprovider.manifest", "version": 1, "bucket": "lake", "entries": entries}
        self.manifest = json.dumps(document, separators=(",", ":")).encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                method, target, _ = head.partition("\r\n")[0].split(" ")
                if target == "/_counts":
                    body, extra, status = json.dumps(self.counts).encode(), {}, 200
                    self.counts.clear()
                else:
                    status, body, extra = self.answer(method, target)
                    await asyncio.sleep(self.latency)
                extra = {"Date": formatdate(usegmt=True), "Content-Length": str(len(body)), **extra}
                lines = [f"HTTP/1.1 {status} {'OK' if status == 200 else 'Not Found'}"]
                lines += [f"{name}: {value}" for name, value in extra.items()]
                writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if method == "HEAD" else body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def answer(self, method: str, target: str) -> tuple[int, bytes, dict[str, str]]:
        parts = urlsplit(target)
        bucket, _, name = unquote(parts.path).lstrip("/").partition("/")
        query = {part: values[0] for part, values in parse_qs(parts.query, keep_blank_values=True).items()}
        if name:
            self.counts["HeadObject" if method == "HEAD" else "GetObject"] += 1
            return self._object(bucket, name)
        if "replication" in query:
            self.counts["GetBucketReplication"] += 1
            return 200, _replication().encode(), {}
        if "versioning" in query:
            self.counts["GetBucketVersioning"] += 1
            return (
                200,
                f"{_XML}<VersioningConfiguration {_XMLNS}><Status>Enabled</Status></VersioningConfiguration>".encode(),
                {},
            )
        if "encryption" in query:
            self.counts["GetBucketEncryption"] += 1
            return 200, _ENCRYPTION.encode(), {}
        self.counts["ListObjectsV2"] += 1
        return 200, self._page(bucket, query), {}

    def _object(self, bucket: str, name: str) -> tuple[int, bytes, dict[str, str]]:
        shown = {"ETag": '"x"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        if name == MANIFEST:
            return 200, self.manifest, shown
        there = self.keys[bucket]
        at = bisect_right(there, name) - 1
        if at < 0 or there[at] != name:
            return 404, b"", {}
        status = "REPLICA" if bucket == BUCKETS[1] else "PENDING"
        return 200, b"", {**shown, "Content-Length": str(self.sizes[name]), "x-amz-replication-status": status}

    def _page(self, bucket: str, query: dict[str, str]) -> bytes:
        keys, prefix = self.keys[bucket], query.get("prefix", "")
        after = unquote(query.get("continuation-token", "")) or query.get("start-after", "")
        first = max(bisect_right(keys, after), bisect_right(keys, prefix) if prefix else 0)
        last = min(len(keys), first + int(query.get("max-keys", PAGE)))
        rows = b"".join(
            row for name, row in zip(keys[first:last], self.rows[first:last], strict=True) if name.startswith(prefix)
        )
        more = last < len(keys)
        token = f"<NextContinuationToken>{quote(keys[last - 1])}</NextContinuationToken>" if more else ""
        head = (
            f"{_XML}<ListBucketResult {_XMLNS}><Name>{bucket}</Name><Prefix>{quote(prefix, safe='/')}</Prefix>"
            f"<KeyCount>{last - first}</KeyCount><MaxKeys>{PAGE}</MaxKeys><EncodingType>url</EncodingType>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}"
        )
        return head.encode() + rows + b"</ListBucketResult>"


def _row(name: str, count: int) -> str:
    etag = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
    return (
        f"<Contents><Key>{quote(name, safe='/')}</Key><LastModified>{WRITTEN}</LastModified><ETag>&quot;{etag}&quot;"
        f"</ETag><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType><Size>{count}</Size><StorageClass>STANDARD</StorageClass></Contents>"
    )


def _replication() -> str:
    return (
        f"{_XML}<ReplicationConfiguration {_XMLNS}><Role>arn:aws:iam::123456789012:role/r</Role><Rule><ID>all</ID>"
        "<Priority>1</Priority><Filter><Prefix></Prefix></Filter><Status>Enabled</Status><DeleteMarkerReplication>"
        "<Status>Disabled</Status></DeleteMarkerReplication><Destination><Bucket>arn:aws:s3:::lake-replica</Bucket>"
        "</Destination></Rule></ReplicationConfiguration>"
    )


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.s3_server", description=__doc__)
    parser.add_argument("--objects", type=int, required=True)
    parser.add_argument("--latency", type=float, default=0.06, help="seconds, added to every answer")
    parser.add_argument("--missing", type=int, default=0)
    arguments = parser.parse_args()
    answering = Server(arguments.objects, arguments.latency, arguments.missing)
    server = await asyncio.start_server(answering.serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
