"""The manifest of a replication: where it lies, what it names, and that it stays the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.bucket import Bucket
from airflow_lockprovider.readiness.client_error import http_status_of
from airflow_lockprovider.readiness.manifest_reader import ManifestReader
from airflow_lockprovider.readiness.replication_expected import rows_of
from airflow_lockprovider.readiness.rows import Rows
from airflow_lockprovider.readiness.window import WINDOW_KEYS, digest


class ManifestSource:
    """Reads one manifest through the source's client. ``found`` is false while it is absent."""

    def __init__(self, bucket: str, key: str, source: Bucket) -> None:
        self.bucket, self.key = bucket, key
        self.source = source
        self.found = False
        self._rows = Rows()
        self._about: dict[str, Any] = {}
        self._digest = 0

    @classmethod
    def of(cls, place: str, source: Bucket) -> ManifestSource:
        """From a key of the source bucket, or ``s3://bucket/key``."""
        if "://" not in place:
            return cls(source.name, place, source)
        scheme, _, path = place.partition("://")
        bucket, _, key = path.partition("/")
        if scheme != "s3" or not key:
            raise ConfigurationError(f"manifest={place!r} must be a key, or s3://bucket/key")
        return cls(bucket, key, source)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    def load(self, prefix: str) -> str:
        """Read it, and say which prefix its keys share. ConfigurationError if it cannot be what is meant."""
        try:
            manifest, rows = self._read()
        except Exception as error:
            if http_status_of(error) == 404:
                self.found = False
                return prefix
            raise
        self.found = True
        if manifest.about["bucket"] not in ("", self.source.name):
            raise ConfigurationError(
                f"{self} lists objects of {manifest.about['bucket']}, source_bucket is {self.source.name}"
            )
        if outside := next((key for key in rows.keys if not key.startswith(prefix)), None):
            raise ConfigurationError(f"{self} names {outside!r}, which is outside prefix={prefix!r}")
        self._rows = rows
        self._digest = digest(rows)
        self._about = {"manifest": str(self), "run_id": manifest.about["run_id"], "rows": manifest.rows}
        return rows.prefix if rows else prefix

    def absent(self) -> str:
        """What to say when it is not there."""
        return f"there is no manifest {self}: has the step that writes it run? It is to be written last"

    def thousands(self) -> Iterator[Rows]:
        """Its rows in lists of `WINDOW_KEYS`."""
        return self.rows().in_lists_of(WINDOW_KEYS)

    def rows(self) -> Rows:
        """Its rows; in another process than that of `load`, read again and compared."""
        if not self._rows and self.found:
            _, rows = self._read()
            if digest(rows) != self._digest:
                raise ConfigurationError(f"{self} was rewritten while we waited for what it named")
            self._rows = rows
        return self._rows

    def facts(self) -> dict[str, Any]:
        """For the verdict."""
        return {name: value for name, value in self._about.items() if value not in (None, "")}

    def memory(self) -> dict[str, Any]:
        """For `remember`, in JSON's own types."""
        return {"found": self.found, "digest": self._digest, "about": self._about}

    def remember(self, memory: Mapping[str, Any]) -> None:
        """Go on where `memory` was taken."""
        self.found, self._digest, self._about = memory["found"], memory["digest"], dict(memory["about"])

    def _read(self) -> tuple[ManifestReader, Rows]:
        content = Bucket(self.source.request, self.bucket, "", self.source.identity).read(self.key)
        manifest = ManifestReader(content)
        try:
            rows = rows_of(manifest, self.source.identity)
        except ConfigurationError as error:
            raise ConfigurationError(f"{self}: {error}") from error
        return manifest, rows.written_at(_epoch(manifest.about["written_at"]))


def _epoch(text: str) -> float:
    """0 for what is no time: it is used for ages only."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
