"""The Redshift Data API, on a Postgres that stands for the warehouse.

Which Postgres: the one named by the cluster identifier, else by the workgroup name, else by the region.
``Database`` and ``DbUser`` are shown again by DescribeStatement but choose nothing: the DSN does.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

from airflow_lockprovider.demo.aws import sql_text
from airflow_lockprovider.demo.aws.errors import AwsError
from airflow_lockprovider.demo.aws.request import AwsRequest
from airflow_lockprovider.demo.aws.statement import FINISHED, Progress, Statement

_DESCRIBED = ("ClusterIdentifier", "WorkgroupName", "Database", "DbUser", "SecretArn", "StatementName")
_REFUSED = ("SessionId", "SessionKeepAliveSeconds", "WithEvent")


class RedshiftData:
    def __init__(self, warehouses: dict[str, str]) -> None:
        self._warehouses = warehouses
        self._lock = Lock()
        self._statements: dict[str, Statement] = {}
        self._by_client_token: dict[tuple[str, str], Statement] = {}
        self._operations: dict[str, Callable[[str, dict[str, Any]], dict[str, Any]]] = {
            "BatchExecuteStatement": self._execute,
            "CancelStatement": self._cancel,
            "DescribeStatement": self._describe,
            "ExecuteStatement": self._execute,
            "GetStatementResult": self._result,
            "ListStatements": self._list,
        }

    def answer(self, request: AwsRequest) -> dict[str, Any]:
        operation = self._operations.get(request.operation)
        if operation is None:
            known = ", ".join(self._operations)
            raise AwsError("UnknownOperationException", f"{request.operation} is not simulated; these are: {known}")
        return operation(request.region, request.parameters())

    def stop(self) -> None:
        """Cancel what runs, wait for it, forget all."""
        with self._lock:
            statements = list(self._statements.values())
            self._statements.clear()
            self._by_client_token.clear()
        for statement in statements:
            statement.cancel()
            statement.join()

    def _execute(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        if refused := [name for name in _REFUSED if asked.get(name)]:
            raise AwsError("ValidationException", f"{refused[0]} is not simulated; leave it out")
        is_batch = "Sqls" in asked
        sqls = list(asked["Sqls"]) if is_batch else [asked["Sql"]]
        parameters = {each["name"]: each["value"] for each in asked.get("Parameters") or []}
        _refuse_unused(parameters, sqls)
        token = (region, asked.get("ClientToken") or "")
        with self._lock:
            statement = self._by_client_token.get(token) if token[1] else None
            if statement is None:
                statement = Statement(
                    dsn=self._warehouse(region, asked),
                    region=region,
                    sqls=sqls,
                    is_batch=is_batch,
                    parameters=parameters,
                    described={name: asked[name] for name in _DESCRIBED if name in asked},
                )
                self._statements[statement.whole.statement_id] = statement
                self._by_client_token[token] = statement
                statement.start()
        described = statement.as_dict()
        return {
            name: described[name]
            for name in ("Id", "CreatedAt", *_DESCRIBED)
            if name in described and name != "StatementName"
        }

    def _warehouse(self, region: str, asked: dict[str, Any]) -> str:
        name = asked.get("ClusterIdentifier") or asked.get("WorkgroupName")
        if name is None:
            raise AwsError("ValidationException", "Either ClusterIdentifier or WorkgroupName must be specified")
        dsn = self._warehouses.get(name) or self._warehouses.get(region)
        if dsn is None:
            known = ", ".join(sorted(self._warehouses)) or "none"
            raise AwsError(
                "ValidationException",
                f"Redshift endpoint doesn't exist in this region: {name} in {region}; simulated warehouses: {known}",
            )
        return dsn

    def _cancel(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        statement, progress = self._find(region, asked["Id"])
        if progress is not statement.whole:
            raise AwsError("ValidationException", f"{asked['Id']} is part of a batch: cancel the batch")
        if not statement.cancel():
            raise AwsError(
                "ValidationException",
                f"Could not cancel a query that is already in {progress.status} state with ID: {asked['Id']}",
            )
        return {"Status": True}

    def _describe(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        statement, progress = self._find(region, asked["Id"])
        return statement.as_dict() if progress is statement.whole else progress.as_dict()

    def _result(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        _, progress = self._find(region, asked["Id"])
        if progress.status != FINISHED or progress.result is None:
            raise AwsError(
                "ResourceNotFoundException",
                "Query does not have result. Please check query status with DescribeStatement "
                f"(it is {progress.status}).",
            )
        return progress.result.page(asked.get("NextToken"))

    def _list(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        status, name = asked.get("Status", "ALL"), asked.get("StatementName", "")
        with self._lock:
            here = [statement for statement in self._statements.values() if statement.region == region]
        described = [statement.as_dict() for statement in reversed(here)]
        found = [
            each
            for each in described
            if status in ("ALL", each["Status"]) and each.get("StatementName", "").startswith(name)
        ]
        first = int(asked.get("NextToken", 0))
        end = first + asked.get("MaxResults", 100)
        return {"Statements": found[first:end]} | ({"NextToken": str(end)} if end < len(found) else {})

    def _find(self, region: str, statement_id: str) -> tuple[Statement, Progress]:
        with self._lock:
            statement = self._statements.get(statement_id.partition(":")[0])
        progress = statement.progress(statement_id) if statement and statement.region == region else None
        if statement is None or progress is None:
            raise AwsError("ResourceNotFoundException", f"Query does not exist: {statement_id} in {region}")
        return statement, progress


def _refuse_unused(parameters: dict[str, str], sqls: list[str]) -> None:
    used = set().union(*(sql_text.parameter_names(sql) for sql in sqls))
    if unused := parameters.keys() - used:
        raise AwsError(
            "ValidationException",
            f"Parameters list contains unused parameters. Unused parameters: {sorted(unused)}",
        )
