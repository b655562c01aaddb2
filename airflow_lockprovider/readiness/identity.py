"""When is a copy the same object? By key and size; by version id or ETag too, if asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_lockprovider.lease.errors import ConfigurationError

_ALWAYS = {"key", "size"}
_OPTIONAL = {"version_id", "etag"}


@dataclass(frozen=True, slots=True)
class Identity:
    """What is compared besides key and size. S3 keeps version ids over replication, so they are exact; an ETag
    is another one where the replica has another KMS key."""

    version_id: bool = False
    etag: bool = False

    @classmethod
    def of(cls, names: Collection[str]) -> Identity:
        """From what users write: ``("key", "size", "version_id")``. ConfigurationError for anything else."""
        if isinstance(names, str) or not _ALWAYS <= set(names) <= _ALWAYS | _OPTIONAL:
            raise ConfigurationError(
                f"identity={names!r} must hold 'key' and 'size', and may hold 'version_id' and 'etag'"
            )
        return cls("version_id" in names, "etag" in names)

    def mark(self, item: Mapping[str, Any]) -> str:
        """What to compare of a listed object, or of the answer to a HEAD."""
        version_id = str(item.get("VersionId", "")) if self.version_id else ""
        etag = str(item.get("ETag", "")).strip('"') if self.etag else ""
        return self.join(version_id, etag)

    def join(self, version_id: str, etag: str) -> str:
        """The same from its parts."""
        return f"{version_id}\0{etag}" if self.version_id and self.etag else version_id + etag
