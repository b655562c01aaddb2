"""What a look at a replication means, in words that name the objects and the repair."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_lockprovider.readiness.bucket import Bucket
from airflow_lockprovider.readiness.replication_expected import OnSourceChange
from airflow_lockprovider.readiness.replication_finding import Finding, named

_REPAIR = "repair it with S3BatchReplicationOperator (S3 Batch Replication)"


def why_never(
    finding: Finding,
    source: Bucket,
    destination: Bucket,
    *,
    policy: OnSourceChange,
    extra_may_go: bool,
) -> tuple[str, Sequence[str]]:
    """Why waiting is pointless, and the keys that this is about; ``""`` if it is not."""
    there = f"s3://{destination.name}"
    if keys := finding.failed:
        why = (
            f"replication to {there} FAILED for {named(keys)} of {source}; S3 does not try again: "
            "check the replication role (s3:ReplicateObject, s3:GetObjectVersionForReplication), its rights on both "
            f"KMS keys, and the destination's bucket policy; then {_REPAIR}"
        )
        return why, keys
    if keys := finding.not_eligible:
        causes = "; ".join(sorted(finding.causes)) or (
            "older than the rule, outside its filter, encrypted with KMS while the rule leaves that out, "
            "in a Glacier class, or itself a replica"
        )
        why = (
            f"not eligible for replication to {there}: {named(keys)} of {source} have no replication status "
            f"({causes}); correct the rule, then {_REPAIR}"
        )
        return why, keys
    if keys := finding.lost:
        why = (
            f"COMPLETED on {source} but absent at {there}: {named(keys)}; "
            "deleted there, expired by a lifecycle rule, or copied to another bucket"
        )
        return why, keys
    if finding.changed and policy == "fail":
        keys = finding.changed
        why = (
            f"the source set changed while we waited: {named(keys)} of {source}; run this sensor after the last "
            "writer, or set on_source_change='refreeze' or 'ignore'"
        )
        return why, keys
    if finding.extra and not extra_may_go:
        keys = finding.extra
        why = (
            f"{destination} holds {named(keys)} that are not in the set, which strict_extra refuses: leftovers of an "
            "earlier run, or written by somebody else; delete them there"
        )
        return why, keys
    return "", ()


def too_few(source: Bucket, expected: int, wanted: int) -> str:
    """Why a small set is refused."""
    return (
        f"{source} holds {expected:,} objects, wanted at least {wanted:,}: "
        "has the step that writes them run, and is the prefix right?"
    )
