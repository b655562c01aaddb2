"""A probe as plain data, so that it can travel to a triggerer and into the task's state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.probe import Probe

# Each is imported when a plan asks for it: a triggerer that waits for one kind loads no other.
PROBES: Mapping[str, str] = {
    "glue_crawl": "crawl:CrawlProbe",
    "glue_job_run": "job_run:JobRunProbe",
    "glue_partition": "partition:PartitionProbe",
    "redshift_external_data": "external_data:ExternalDataProbe",
    "s3_batch_replication": "batch_replication:BatchReplicationProbe",
    "s3_manifest": "manifest_probe:ManifestProbe",
    "s3_replication": "replication:ReplicationProbe",
}
"""Kind → module of this package and class."""


def probe_class(kind: str) -> type[Probe]:
    """The probe of this kind. ConfigurationError if there is none."""
    if kind not in PROBES:
        raise ConfigurationError(f"unknown probe {kind!r}, known: {', '.join(sorted(PROBES))}")
    module, _, name = PROBES[kind].partition(":")
    found: type[Probe] = getattr(import_module(f"airflow_lockprovider.readiness.{module}"), name)
    return found


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Whom a probe talks to: an AWS service through a connection, in a region (None: the connection's)."""

    service: str
    conn_id: str | None
    region: str | None = None


@dataclass(frozen=True, slots=True)
class ProbePlan:
    """Which probe, with which settings, through which clients. All of it is JSON's own types."""

    kind: str
    settings: Mapping[str, Any]
    endpoints: Mapping[str, Endpoint]

    def probe(self, clients: Mapping[str, Any], state: str = "") -> Probe:
        """The probe, going on from ``state`` if there is one."""
        probe = probe_class(self.kind)(clients, **self.settings)
        if state:
            probe.restore(state)
        return probe

    def as_dict(self) -> dict[str, Any]:
        """For serialisation."""
        return {
            "kind": self.kind,
            "settings": dict(self.settings),
            "endpoints": {
                name: {"service": end.service, "conn_id": end.conn_id, "region": end.region}
                for name, end in self.endpoints.items()
            },
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ProbePlan:
        """The inverse of `as_dict`."""
        endpoints = {name: Endpoint(**end) for name, end in data["endpoints"].items()}
        return cls(data["kind"], data["settings"], endpoints)
