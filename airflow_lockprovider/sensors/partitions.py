"""Partitions as an argument of a sensor."""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Mapping
from typing import Any

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.partition_name import Partition, partition_of, partitions_of


def check_partitions(written: Any) -> None:
    """When the DAG is parsed. What a template or an earlier task gives is looked at when the task runs."""
    if isinstance(written, str) and "{{" in written:
        return
    if isinstance(written, str | Mapping):
        raise ConfigurationError(f"partitions={written!r} must be a list, also with one partition")
    if not isinstance(written, list | tuple):
        return  # the output of another task
    if not written:
        raise ConfigurationError("partitions must name at least one partition")
    for one in written:
        if isinstance(one, str | Mapping | list | tuple) and "{{" not in str(one):
            partition_of(one)


def read_partitions(rendered: Any) -> list[Partition]:
    """When the task runs: a list, or the text of one, which is what a template makes of it."""
    if isinstance(rendered, str):
        try:
            rendered = literal_eval(rendered)  # Jinja writes a list as Python does; JSON's lists of texts look the same
        except (SyntaxError, ValueError):
            raise ConfigurationError(f"partitions={rendered!r} is not a list after rendering") from None
    return partitions_of(rendered)
