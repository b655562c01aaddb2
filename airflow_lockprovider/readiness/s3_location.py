"""An address in S3, as catalogs and people write it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from airflow_lockprovider.lease.errors import ConfigurationError

_FORM = re.compile(r"s3[an]?://(?P<bucket>[^/]+)(?:/(?P<key>.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class S3Location:
    """A bucket and a key or prefix in it. ``str()`` gives ``s3://bucket/key``."""

    bucket: str
    key: str = ""

    @classmethod
    def parse(cls, written: str) -> Self:
        """From ``s3://bucket/path`` (s3a and s3n are the same). ConfigurationError for anything else."""
        if not (match := _FORM.fullmatch(written)):
            raise ConfigurationError(f"{written!r} is no address in S3: write s3://bucket/path")
        return cls(match["bucket"], match["key"] or "")

    @property
    def folder(self) -> str:
        """The key with a slash at its end, so that ``month=1`` does not mean ``month=11``, too."""
        return self.key.rstrip("/") + "/" if self.key else ""

    def is_under(self, other: S3Location) -> bool:
        """Whether it lies in the folder ``other``, or is it."""
        return self.bucket == other.bucket and self.folder.startswith(other.folder)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"
