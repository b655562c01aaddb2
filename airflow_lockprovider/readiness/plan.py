"""A probe as plain data, so that it can travel to a triggerer and into the task's state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.crawl import CrawlProbe
from airflow_lockprovider.readiness.external_data import ExternalDataProbe
from airflow_lockprovider.readiness.job_run import JobRunProbe
from airflow_lockprovider.readiness.partition import PartitionProbe
from airflow_lockprovider.readiness.probe import Probe
from airflow_lockprovider.readiness.replication import ReplicationProbe

PROBES: Mapping[str, type[Probe]] = {
    probe.kind: probe for probe in (ReplicationProbe, CrawlProbe, PartitionProbe, JobRunProbe, ExternalDataProbe)
}


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
        if self.kind not in PROBES:
            raise ConfigurationError(f"unknown probe {self.kind!r}, known: {', '.join(sorted(PROBES))}")
        probe = PROBES[self.kind](clients, **self.settings)
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
