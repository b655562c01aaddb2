"""How a partition is written: ``year=2026/month=01``, ``{"year": "2026", "month": "01"}`` or ``["2026", "01"]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from airflow_lockprovider.lease.errors import ConfigurationError

Partition = list[str] | dict[str, str]
"""As it travels in a plan: values in the order of the table's partition keys, or values by key."""

MAX_PARTITIONS = 1000
"""So many fit into the row of a trigger with room to spare."""


def partition_of(written: Any) -> Partition:
    """The partition that somebody has written. ConfigurationError if it is none."""
    if isinstance(written, str):
        return _of_path(written)
    if isinstance(written, Mapping) and written:
        return {_text(key, written): _text(value, written) for key, value in written.items()}
    if isinstance(written, Sequence) and written:
        return [_text(value, written) for value in written]
    raise ConfigurationError(_RULE.format(written))


def partitions_of(written: Any) -> list[Partition]:
    """Several of them, each once, in the order given. ConfigurationError if there is none."""
    if isinstance(written, str | Mapping) or not isinstance(written, Sequence) or not written:
        raise ConfigurationError(f"partitions={written!r} must be a list with at least one partition")
    found: list[Partition] = []
    for one in written:
        if (partition := partition_of(one)) not in found:
            found.append(partition)
    if len(found) > MAX_PARTITIONS:
        raise ConfigurationError(
            f"{len(found)} partitions are more than {MAX_PARTITIONS}: split them over several tasks"
        )
    return found


def values_of(partition: Partition, keys: Sequence[str]) -> list[str]:
    """The values in the order of the table's keys. ConfigurationError if they do not fit."""
    if isinstance(partition, list):
        if len(partition) != len(keys):
            raise ConfigurationError(f"{partition!r} has {len(partition)} values for the partition keys {_list(keys)}")
        return partition
    by_key = {key.lower(): value for key, value in partition.items()}
    if by_key.keys() != {key.lower() for key in keys}:
        raise ConfigurationError(f"{name_of(partition)} does not name the partition keys {_list(keys)}")
    return [by_key[key.lower()] for key in keys]


def name_of(partition: Partition, keys: Sequence[str] = ()) -> str:
    """For people: ``year=2026/month=01``, or ``2026/01`` while the keys are not known."""
    if isinstance(partition, Mapping):
        return "/".join(f"{key}={value}" for key, value in partition.items())
    if len(keys) == len(partition):
        return "/".join(f"{key}={value}" for key, value in zip(keys, partition, strict=True))
    return "/".join(partition)


def _of_path(path: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in path.strip("/").split("/")]
    if not all(key and equals and value for key, equals, value in pairs):
        raise ConfigurationError(_RULE.format(path))
    # Folders are written with %XX for what a path cannot hold; the catalog has the value itself.
    return {key: unquote(value) for key, _, value in pairs}


def _text(value: Any, written: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise ConfigurationError(_RULE.format(written))
    return str(value)


def _list(keys: Sequence[str]) -> str:
    return ", ".join(keys) or "(none: the table has no partitions)"


_RULE = "{!r} is no partition: write 'year=2026/month=01', {{'year': '2026', 'month': '01'}} or ['2026', '01']"
