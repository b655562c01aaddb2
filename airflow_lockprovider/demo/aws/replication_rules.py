"""Which objects a bucket's stored replication configuration selects, and for which destinations."""

from __future__ import annotations

from typing import Any

import xmltodict  # type: ignore[import-untyped]

from airflow_lockprovider.demo.aws import s3_store
from airflow_lockprovider.demo.aws.errors import AwsError


def destinations(bucket: str, version: Any) -> set[str]:
    """The buckets that this version of an object is to be copied to; empty means never eligible."""
    found = s3_store.find_bucket(bucket)
    if found is None or found.versioning_status != "Enabled":
        return set()
    tags = s3_store.backend().tagger.get_tag_dict_for_resource(version.arn)
    return {
        _destination(rule)
        for rule in _rules(getattr(found, "replication", None))
        if rule["Status"] == "Enabled" and _selects(rule, version, tags)
    }


def marker_destinations(bucket: str, key: str) -> set[str]:
    """The buckets to which a delete marker of this key goes: with a V1 rule always, with a V2 rule if it says so, and
    never with one that selects by tags."""
    found = s3_store.find_bucket(bucket)
    if found is None or found.versioning_status != "Enabled":
        return set()
    return {
        _destination(rule)
        for rule in _rules(getattr(found, "replication", None))
        if rule["Status"] == "Enabled" and _takes_markers(rule) and key.startswith(_prefix(rule))
    }


def configuration_xml(bucket: str) -> bytes | None:
    """GetBucketReplication as AWS answers it. moto keeps the rules but answers every one with the prefix
    ''."""
    found = s3_store.find_bucket(bucket)
    stored = getattr(found, "replication", None)
    if not stored:
        return None
    # Only V2 rules, those with a Filter, have a priority; moto gives one to all.
    rules = [
        rule if "Filter" in rule else {k: v for k, v in rule.items() if k != "Priority"} for rule in _rules(stored)
    ]
    document = {"ReplicationConfiguration": {**stored, "Rule": rules}}
    return str(xmltodict.unparse(document)).encode()


def check_destinations(configuration: bytes) -> None:
    """What PutBucketReplication refuses on AWS and moto lets pass."""
    for rule in _rules(xmltodict.parse(configuration)["ReplicationConfiguration"]):
        found = s3_store.find_bucket(_destination(rule))
        if found is None:
            raise AwsError("InvalidRequest", f"Destination bucket must exist: {_destination(rule)}")
        if found.versioning_status != "Enabled":
            raise AwsError("InvalidRequest", f"Destination bucket must have versioning enabled: {_destination(rule)}")


def _rules(configuration: dict[str, Any] | None) -> list[dict[str, Any]]:
    return _as_list((configuration or {}).get("Rule"))


def _destination(rule: dict[str, Any]) -> str:
    return str(rule["Destination"]["Bucket"]).rpartition(":")[2]


def _selects(rule: dict[str, Any], version: Any, tags: dict[str, str]) -> bool:
    if version.encryption == "aws:kms" and not _selects_kms(rule):
        return False
    return str(version.name).startswith(_prefix(rule)) and all(
        tags.get(tag["Key"]) == (tag.get("Value") or "") for tag in _as_list(_filter(rule).get("Tag"))
    )


def _filter(rule: dict[str, Any]) -> dict[str, Any]:
    # V1: the prefix stands in the rule. V2: in its Filter, alone or joined with tags under And.
    wanted = rule.get("Filter") or {}
    joined: dict[str, Any] = wanted.get("And") or wanted
    return joined


def _prefix(rule: dict[str, Any]) -> str:
    return _filter(rule).get("Prefix") or rule.get("Prefix") or ""


def _takes_markers(rule: dict[str, Any]) -> bool:
    if "Filter" not in rule:
        return True
    return (rule.get("DeleteMarkerReplication") or {}).get("Status") == "Enabled" and not _filter(rule).get("Tag")


def _selects_kms(rule: dict[str, Any]) -> bool:
    criteria = (rule.get("SourceSelectionCriteria") or {}).get("SseKmsEncryptedObjects") or {}
    return criteria.get("Status") == "Enabled"


def _as_list(value: Any) -> list[Any]:
    # xmltodict gives a lone element as itself, several as a list.
    return [] if value is None else value if isinstance(value, list) else [value]
