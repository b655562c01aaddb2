"""One SQL statement through the Redshift Data API: submit, look, fetch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from airflow_lockprovider.readiness.client_error import code_of

Request = Callable[..., Any]
Row = tuple[Any, ...]

_FINISHED = "FINISHED"
_ENDED_BADLY = frozenset({"FAILED", "ABORTED"})
_LOOKS = (0.1, 0.2, 0.4, 0.8, 1.5)
"""Seconds between the looks of one visit: most catalog queries are done by then."""


class StatementFailed(Exception):
    """The statement ended as FAILED or ABORTED; ``message`` is Redshift's own."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status, self.message = status, message


class DataApi:
    """Runs statements one after the other. ``target`` says where: workgroup or cluster, database, user or secret."""

    def __init__(
        self, request: Request, target: Mapping[str, str], *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._request = request
        self._target = dict(target)
        self._sleep = sleep
        self.running: str | None = None
        """The id of the statement that was submitted and has not been fetched."""

    def rows(self, sql: str, parameters: Mapping[str, str]) -> Sequence[Row] | None:
        """The result; None if it is not there yet (ask again, with the same statement). StatementFailed if it never
        will be."""
        if self.running is None:
            given = [{"name": name, "value": value} for name, value in parameters.items()]
            extra = {"Parameters": given} if given else {}
            answer = self._request("redshift-data", "execute_statement", Sql=sql, **self._target, **extra)
            self.running = str(answer["Id"])
        for pause in (*_LOOKS, None):
            try:
                told = self._request("redshift-data", "describe_statement", Id=self.running)
            except Exception as error:
                if code_of(error) == "ResourceNotFoundException":
                    self.running = None  # results are kept for a day: an old one is asked for anew
                raise
            if (status := told["Status"]) == _FINISHED:
                return self._fetch()
            if status in _ENDED_BADLY:
                self.running = None
                raise StatementFailed(status, " ".join(str(told.get("Error") or "no error message").split()))
            if pause is not None:
                self._sleep(pause)
        return None

    def _fetch(self) -> Sequence[Row]:
        rows: list[Row] = []
        more: dict[str, str] = {}
        while True:
            page = self._request("redshift-data", "get_statement_result", Id=self.running, **more)
            rows.extend(tuple(map(_value, record)) for record in page["Records"])
            if not page.get("NextToken"):
                self.running = None
                return rows
            more = {"NextToken": page["NextToken"]}


def _value(field: Mapping[str, Any]) -> Any:
    return None if field.get("isNull") else next(iter(field.values()))
