"""One object that a manifest names."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_lockprovider.lease.errors import ConfigurationError


@dataclass(frozen=True, slots=True, order=True)
class ManifestEntry:
    """One object. ``size`` in bytes; ``version_id`` and ``etag`` are empty and ``rows`` is None if not known."""

    key: str
    size: int
    version_id: str = ""
    etag: str = ""
    rows: int | None = None

    def __post_init__(self) -> None:
        if not self.key or not isinstance(self.key, str):
            raise ConfigurationError(f"a manifest entry needs a key, not {self.key!r}")
        if not isinstance(self.size, int) or isinstance(self.size, bool) or not 0 <= self.size < 1 << 63:
            raise ConfigurationError(f"manifest entry {self.key!r}: size={self.size!r} must be bytes, 0 or more")
