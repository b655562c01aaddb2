"""BatchGetPartition as AWS documents it: it may leave keys unprocessed, and takes at most 1000 of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.glue.models import glue_backends

from airflow_lockprovider.demo.aws.errors import AwsError
from airflow_lockprovider.demo.aws.request import AwsRequest
from airflow_lockprovider.demo.aws.settings import Settings

MOST_KEYS = 1000


class Partitions:
    """Answers in moto's place, which processes every key."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings

    def answer(self, request: AwsRequest) -> dict[str, Any] | None:
        if request.operation != "BatchGetPartition":
            return None
        asked = request.parameters()
        wanted: list[dict[str, Any]] = asked["PartitionsToGet"]
        if len(wanted) > MOST_KEYS:
            raise AwsError("InvalidInputException", f"PartitionsToGet has {len(wanted)} entries, at most {MOST_KEYS}")
        tables = getattr(
            glue_backends[DEFAULT_ACCOUNT_ID][request.region].databases.get(asked["DatabaseName"]), "tables", {}
        )
        table = tables.get(asked["TableName"])
        if table is None:
            raise AwsError("EntityNotFoundException", f"Table {asked['DatabaseName']}.{asked['TableName']} not found.")
        limit = self._settings().partitions_per_answer
        processed = wanted if limit is None else wanted[: int(limit)]
        found = [table.partitions[str(each["Values"])] for each in processed if str(each["Values"]) in table.partitions]
        return {
            "Partitions": [_plain(partition.as_dict()) for partition in found],
            "UnprocessedKeys": wanted[len(processed) :],
        }


def _plain(described: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.timestamp() if isinstance(value, datetime) else value
        for name, value in described.items()
        if value is not None
    }
