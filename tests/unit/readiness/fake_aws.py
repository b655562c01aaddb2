"""The far side of AWS in memory: as much of S3 and Glue as the probes see, with every request counted."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from io import BytesIO
from threading import Lock
from typing import Any

START = datetime(2026, 1, 31, 6, 0, tzinfo=UTC)


class FakeClientError(Exception):
    """Has the shape of botocore's ClientError."""

    def __init__(self, operation_name: str, code: str, status: int, message: str = "") -> None:
        super().__init__(f"{operation_name}: {code}")
        self.operation_name = operation_name
        self.response = {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": status},
        }


class FakeClock:
    """The server's clock; tests move it."""

    def __init__(self) -> None:
        self.now = START

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class FakeService:
    """Counts requests; ``errors`` are raised one after the other before anything is answered."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.requests: Counter[str] = Counter()
        self.errors: list[Exception] = []
        self._counting = Lock()

    def _answer(self, operation: str, **fields: Any) -> dict[str, Any]:
        headers = {"date": format_datetime(self.clock.now, usegmt=True)}
        return {**fields, "ResponseMetadata": {"HTTPStatusCode": 200, "HTTPHeaders": headers}}

    def _count(self, operation: str) -> None:
        with self._counting:  # probes ask from several threads
            self.requests[operation] += 1
            error = self.errors.pop(0) if self.errors else None
        if error:
            raise error


class FakeS3(FakeService):
    """One side of a replication. ``put`` on the source, ``copy_to`` for what S3 would do."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        super().__init__(clock)
        self.objects: dict[str, dict[str, Any]] = {}
        self.rules: list[dict[str, Any]] | None = None
        self.versioning = "Enabled"
        self.encryption = "AES256"
        self.writes = 0

    def put(
        self, *keys: str, size: int = 10, status: str | None = "PENDING", etag: str = "e", encryption: str = "AES256"
    ) -> None:
        for key in keys:
            self.writes += 1
            self.objects[key] = {
                "Key": key,
                "Size": size,
                "ETag": f'"{etag}"',
                "LastModified": self.clock.now,
                "Status": status,
                "VersionId": f"v{self.writes}",
                "IsLatest": True,
                "Encryption": encryption,
            }

    def put_content(self, key: str, content: bytes) -> None:
        self.put(key, size=len(content))
        self.objects[key]["Content"] = content

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        self._count("get")
        if Key not in self.objects:
            raise FakeClientError("GetObject", "NoSuchKey", 404)
        return self._answer("get", Body=BytesIO(self.objects[Key]["Content"]))

    def copy_to(self, destination: FakeS3, *keys: str) -> None:
        for key in keys or list(self.objects):
            self.objects[key]["Status"] = "COMPLETED"
            destination.objects[key] = {**self.objects[key], "Status": "REPLICA"}

    def list_objects_v2(
        self,
        *,
        Bucket: str,
        Prefix: str = "",
        MaxKeys: int = 1000,
        StartAfter: str = "",
        ContinuationToken: str = "",
    ) -> dict[str, Any]:
        self._count("list")
        after = ContinuationToken or StartAfter
        keys = sorted(key for key in self.objects if key.startswith(Prefix) and key > after)
        page = keys[:MaxKeys]
        more = {"NextContinuationToken": page[-1]} if len(keys) > len(page) else {}
        contents = [self.objects[key] for key in page]
        return self._answer("list", Contents=contents, IsTruncated=bool(more), **more)

    def list_object_versions(
        self, *, Bucket: str, Prefix: str = "", MaxKeys: int = 1000, KeyMarker: str = "", VersionIdMarker: str = ""
    ) -> dict[str, Any]:
        page = self.list_objects_v2(Bucket=Bucket, Prefix=Prefix, MaxKeys=MaxKeys, StartAfter=KeyMarker)
        if page["IsTruncated"]:
            last = page["Contents"][-1]
            page |= {"NextKeyMarker": last["Key"], "NextVersionIdMarker": last["VersionId"]}
        return {**page, "Versions": page.pop("Contents"), "DeleteMarkers": []}

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        self._count("head")
        if Key not in self.objects:
            raise FakeClientError("HeadObject", "404", 404, "Not Found")
        found = self.objects[Key]
        status = {"ReplicationStatus": found["Status"]} if found["Status"] else {}
        return self._answer(
            "head",
            ContentLength=found["Size"],
            ETag=found["ETag"],
            LastModified=found["LastModified"],
            VersionId=found["VersionId"],
            ServerSideEncryption=found["Encryption"],
            **status,
        )

    def get_bucket_replication(self, *, Bucket: str) -> dict[str, Any]:
        self._count("replication")
        if self.rules is None:
            raise FakeClientError("GetBucketReplication", "ReplicationConfigurationNotFoundError", 404)
        return self._answer("replication", ReplicationConfiguration={"Rules": self.rules})

    def get_bucket_versioning(self, *, Bucket: str) -> dict[str, Any]:
        self._count("versioning")
        return self._answer("versioning", Status=self.versioning)

    def get_bucket_encryption(self, *, Bucket: str) -> dict[str, Any]:
        self._count("encryption")
        rules = [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": self.encryption}}]
        return self._answer("encryption", ServerSideEncryptionConfiguration={"Rules": rules})


class FakeGlue(FakeService):
    """One crawler. Like AWS it shows a crawl as the last one only after its end, and starts with a lag."""

    def __init__(self, clock: FakeClock | None = None, *, start_lag: float = 2, duration: float = 30) -> None:
        super().__init__(clock)
        self.start_lag, self.duration = start_lag, duration
        self.outcome = "SUCCEEDED"
        self.starts: list[datetime] = []

    def start_crawler(self, *, Name: str) -> dict[str, Any]:
        self._count("start")
        if self._running() is not None:
            raise FakeClientError("StartCrawler", "CrawlerRunningException", 400)
        self.starts.append(self.clock.now + timedelta(milliseconds=400))
        return self._answer("start")

    def get_crawler(self, *, Name: str) -> dict[str, Any]:
        self._count("get")
        if Name == "absent":
            raise FakeClientError("GetCrawler", "EntityNotFoundException", 400, "Crawler absent not found")
        running = self._running()
        visible = running is not None and self._age(running) >= self.start_lag
        crawler: dict[str, Any] = {"Name": Name, "State": "RUNNING" if visible else "READY"}
        if ended := [start for start in self.starts if start != running]:
            crawler["LastCrawl"] = {
                "Status": self.outcome,
                "StartTime": ended[-1],
                "LogGroup": "/aws-glue/crawlers",
                "LogStream": Name,
            }
            if self.outcome != "SUCCEEDED":
                crawler["LastCrawl"]["ErrorMessage"] = "role cannot read s3://replica"
        return self._answer("get", Crawler=crawler)

    def _running(self) -> datetime | None:
        return next((start for start in self.starts[-1:] if self._age(start) < self.duration), None)

    def _age(self, start: datetime) -> float:
        return (self.clock.now - start).total_seconds()


def rule(destination: str = "replica", *, prefix: str = "", status: str = "Enabled") -> dict[str, Any]:
    return {
        "ID": "r",
        "Status": status,
        "Filter": {"Prefix": prefix},
        "Destination": {"Bucket": f"arn:aws:s3:::{destination}"},
    }
