"""An AWS request as the simulator sees it: whose it is, which operation, what it asks."""

from __future__ import annotations

import io
import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl

_CREDENTIAL = re.compile(r"(?:Credential=|^)[^/]+/\d+/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")

_BUCKET_PARTS = {
    "acl": "BucketAcl",
    "encryption": "BucketEncryption",
    "lifecycle": "BucketLifecycleConfiguration",
    "location": "BucketLocation",
    "notification": "BucketNotificationConfiguration",
    "policy": "BucketPolicy",
    "replication": "BucketReplication",
    "tagging": "BucketTagging",
    "versioning": "BucketVersioning",
}
_OBJECT_PARTS = {
    "acl": "ObjectAcl",
    "attributes": "ObjectAttributes",
    "legal-hold": "ObjectLegalHold",
    "retention": "ObjectRetention",
    "tagging": "ObjectTagging",
}


@dataclass(frozen=True)
class AwsRequest:
    environ: dict[str, Any]
    service: str
    region: str
    operation: str
    bucket: str = ""
    key: str = ""

    @classmethod
    def from_environ(cls, environ: dict[str, Any]) -> AwsRequest:
        query = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
        signed = environ.get("HTTP_AUTHORIZATION") or query.get("X-Amz-Credential", "")
        scope = _CREDENTIAL.search(signed)
        service, region = (scope["service"], scope["region"]) if scope else ("s3", "us-east-1")
        if service == "s3" and "HTTP_X_AMZ_ACCOUNT_ID" in environ:
            # S3 Control signs as S3.
            operation = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
            return cls(environ, "s3control", region, operation)
        if service == "s3":
            # WSGI hands over UTF-8 bytes as Latin-1 text.
            path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
            bucket, _, key = path.lstrip("/").partition("/")
            return cls(environ, service, region, _s3_operation(environ, query, bucket, key), bucket, key)
        target = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        return cls(environ, service, region, target or f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")

    def body(self) -> bytes:
        """The request's body, which stays readable for moto."""
        size = int(self.environ.get("CONTENT_LENGTH") or 0)
        data: bytes = self.environ["wsgi.input"].read(size)
        self.environ["wsgi.input"] = io.BytesIO(data)
        return data

    def parameters(self) -> dict[str, Any]:
        """The body of a JSON request."""
        parameters: dict[str, Any] = json.loads(self.body() or b"{}")
        return parameters


class RequestCounts:
    """How often each operation of each service was asked for."""

    def __init__(self) -> None:
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._lock = Lock()

    def add(self, request: AwsRequest) -> None:
        with self._lock:
            self._counts[request.service][request.operation] += 1

    def clear(self) -> None:
        with self._lock:
            self._counts.clear()

    def as_dict(self) -> dict[str, dict[str, int]]:
        with self._lock:
            return {service: dict(counts) for service, counts in sorted(self._counts.items())}


def _s3_operation(environ: dict[str, Any], query: dict[str, str], bucket: str, key: str) -> str:
    method: str = environ["REQUEST_METHOD"]
    if not bucket:
        return "ListBuckets"
    verb = method.capitalize()
    if not key:
        return _bucket_operation(method, verb, query)
    copies = "Copy" if "HTTP_X_AMZ_COPY_SOURCE" in environ else ""
    for part, name in _OBJECT_PARTS.items():
        if part in query:
            return verb + name
    if method == "PUT":
        return f"UploadPart{copies}" if "partNumber" in query else "CopyObject" if copies else "PutObject"
    if method == "POST":
        return "CreateMultipartUpload" if "uploads" in query else "CompleteMultipartUpload"
    if "uploadId" in query:
        return "ListParts" if method == "GET" else "AbortMultipartUpload"
    return f"{verb}Object"


def _bucket_operation(method: str, verb: str, query: dict[str, str]) -> str:
    for part, name in _BUCKET_PARTS.items():
        if part in query:
            return verb + name
    if method == "GET":
        if "versions" in query:
            return "ListObjectVersions"
        if "uploads" in query:
            return "ListMultipartUploads"
        return "ListObjectsV2" if query.get("list-type") == "2" else "ListObjects"
    if method == "POST":
        return "DeleteObjects"
    return "CreateBucket" if method == "PUT" else f"{verb}Bucket"
