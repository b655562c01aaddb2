"""What a bucket's replication configuration does with the objects that we wait for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Coverage:
    """The enabled rules that lead our prefix to our destination, taken together.

    ``tags``: only objects with these tags are taken ("" if a rule asks for none). ``kms``: objects encrypted with
    KMS are taken. ``delete_markers``: deletions are replicated. ``several``: the bucket has other destinations,
    so the status of an object speaks about all of them together.
    """

    tags: str = ""
    kms: bool = True
    delete_markers: bool = False
    several: bool = False

    @classmethod
    def of(cls, rules: Sequence[Mapping[str, Any]], *, destination: str, prefix: str) -> Self | str:
        """The coverage; or, as text, why objects under ``prefix`` will not reach ``destination``.

        A rule that filters by tag counts as covering: tags are seen on objects only, and an object that no rule
        takes shows itself by having no replication status.
        """
        ours = [rule for rule in rules if _destination(rule) == destination]
        if not ours:
            others = sorted({_destination(rule) for rule in rules})
            known = ", ".join(others) or "nowhere"
            return f"no replication rule has the destination {destination} (rules lead to {known})"
        enabled = [rule for rule in ours if rule.get("Status") == "Enabled"]
        if not enabled:
            return f"the replication rule to {destination} is not Enabled"
        covering = [rule for rule in enabled if prefix.startswith(_prefix(rule))]
        if not covering:
            covered = ", ".join(repr(_prefix(rule)) for rule in enabled)
            return f"the replication rule to {destination} covers {covered} only, not all of {prefix!r}"
        tagged = [_tags(rule) for rule in covering]
        return cls(
            tags="" if "" in tagged else " or ".join(sorted(set(tagged))),
            kms=any(_takes_kms(rule) for rule in covering),
            delete_markers=any(_takes_delete_markers(rule) for rule in covering),
            several=len({_destination(rule) for rule in rules if rule.get("Status") == "Enabled"}) > 1,
        )


def _destination(rule: Mapping[str, Any]) -> str:
    # arn:aws:s3:::bucket, in every partition.
    return str(rule.get("Destination", {}).get("Bucket", "")).rpartition(":::")[2]


def _prefix(rule: Mapping[str, Any]) -> str:
    scope = rule.get("Filter", {})
    return str(scope.get("Prefix") or scope.get("And", {}).get("Prefix") or rule.get("Prefix") or "")


def _tags(rule: Mapping[str, Any]) -> str:
    scope = rule.get("Filter", {})
    tags = [scope["Tag"]] if "Tag" in scope else scope.get("And", {}).get("Tags", [])
    return " and ".join(f"{tag['Key']}={tag['Value']}" for tag in tags)


def _takes_kms(rule: Mapping[str, Any]) -> bool:
    selection = rule.get("SourceSelectionCriteria", {}).get("SseKmsEncryptedObjects", {})
    return bool(selection.get("Status") == "Enabled")


def _takes_delete_markers(rule: Mapping[str, Any]) -> bool:
    # The older rules, those without a Filter, have always replicated them.
    if "Filter" not in rule:
        return True
    return bool(rule.get("DeleteMarkerReplication", {}).get("Status") == "Enabled")
