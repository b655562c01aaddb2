"""Does a bucket's replication configuration cover what we wait for? Three requests instead of a long timeout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def why_not_covered(rules: Sequence[Mapping[str, Any]], *, destination_bucket: str, prefix: str) -> str:
    """Why objects under ``prefix`` will not reach ``destination_bucket``; ``""`` if a rule covers them.

    A rule that filters by tag counts as covering: tags are seen on objects only, and an object that no rule
    takes shows itself by having no replication status.
    """
    ours = [rule for rule in rules if _destination(rule) == destination_bucket]
    if not ours:
        others = sorted({_destination(rule) for rule in rules})
        known = ", ".join(others) or "nowhere"
        return f"no replication rule has the destination {destination_bucket} (rules lead to {known})"
    enabled = [rule for rule in ours if rule.get("Status") == "Enabled"]
    if not enabled:
        return f"the replication rule to {destination_bucket} is not Enabled"
    if not any(prefix.startswith(_prefix(rule)) for rule in enabled):
        covered = ", ".join(repr(_prefix(rule)) for rule in enabled)
        return f"the replication rule to {destination_bucket} covers {covered} only, not all of {prefix!r}"
    return ""


def _destination(rule: Mapping[str, Any]) -> str:
    # arn:aws:s3:::bucket, in every partition.
    return str(rule.get("Destination", {}).get("Bucket", "")).rpartition(":::")[2]


def _prefix(rule: Mapping[str, Any]) -> str:
    scope = rule.get("Filter", {})
    return str(scope.get("Prefix") or scope.get("And", {}).get("Prefix") or rule.get("Prefix") or "")
