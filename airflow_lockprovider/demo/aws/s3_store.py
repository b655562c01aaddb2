"""moto's S3 as the simulator reads it: buckets and objects without a request (and so without being
counted)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import FakeDeleteMarker, s3_backends


def backend() -> Any:
    return s3_backends[DEFAULT_ACCOUNT_ID]["aws"]


def find_bucket(name: str) -> Any | None:
    return backend().buckets.get(name)


def find_version(bucket: str, key: str, version_id: str | None = None) -> Any | None:
    """That version of an object, or the newest; None when there is none or it is a delete marker."""
    found = find_bucket(bucket)
    for version in reversed((found.keys.getlist(key, []) if found else []) or []):
        if version_id in (None, version.version_id):
            return None if isinstance(version, FakeDeleteMarker) else version
    return None


def find_marker(bucket: str, key: str, version_id: str | None = None) -> Any | None:
    """The delete marker of that version; None asks whether the newest version is one."""
    found = find_bucket(bucket)
    versions = (found.keys.getlist(key, []) if found else []) or []
    for version in reversed(versions if version_id else versions[-1:]):
        if isinstance(version, FakeDeleteMarker) and version_id in (None, version.version_id):
            return version
    return None


@dataclass(frozen=True, slots=True)
class S3Path:
    bucket: str
    key: str

    @classmethod
    def parse(cls, url: str) -> S3Path:
        bucket, _, key = url.removeprefix("s3://").partition("/")
        return cls(bucket, key)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    def objects(self) -> list[Any]:
        """The newest version of each object under this prefix, in S3's order of keys."""
        found = find_bucket(self.bucket)
        versions = dict(found.keys.items()) if found else {}
        return [
            versions[key]
            for key in sorted(versions, key=str.encode)
            if key.startswith(self.key) and not isinstance(versions[key], FakeDeleteMarker)
        ]
