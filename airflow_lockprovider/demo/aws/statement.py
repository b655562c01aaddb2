"""A Redshift Data API statement, or batch of statements, on its way through Postgres."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from threading import Lock, Thread
from typing import Any

import psycopg

from airflow_lockprovider.demo.aws import sql_text
from airflow_lockprovider.demo.aws.redshift_copy import CopyError, RedshiftCopy
from airflow_lockprovider.demo.aws.statement_result import StatementResult

SUBMITTED, STARTED, FINISHED, FAILED, ABORTED = "SUBMITTED", "STARTED", "FINISHED", "FAILED", "ABORTED"


@dataclass(slots=True)
class Progress:
    """What DescribeStatement says of one SQL text: of the whole statement, or of one in a batch."""

    statement_id: str
    sql: str
    status: str = SUBMITTED
    error: str | None = None
    result: StatementResult | None = None
    rows: int = -1
    created_at: float = field(default_factory=time.time)
    updated_at: float = field(default_factory=time.time)
    started: float | None = None
    nanoseconds: int = 0

    def becomes(self, status: str, error: str | None = None) -> None:
        now = time.monotonic()
        if status == STARTED:
            self.started = now
        elif self.started is not None:
            self.nanoseconds = int((now - self.started) * 1e9)
        self.updated_at, self.error, self.status = time.time(), error, status

    def has_ended(self) -> bool:
        return self.status in (FINISHED, FAILED, ABORTED)

    def as_dict(self) -> dict[str, Any]:
        described = {
            "Id": self.statement_id,
            "QueryString": self.sql,
            "Status": self.status,
            "CreatedAt": self.created_at,
            "UpdatedAt": self.updated_at,
            "Duration": self.nanoseconds,
            "HasResultSet": self.result is not None,
            "ResultRows": self.rows,
            "ResultSize": self.result.size if self.result else -1,
            "RedshiftQueryId": 0,
        }
        return described | ({"Error": self.error} if self.error else {})


class Statement:
    """Runs in its own thread and connection: a batch in one transaction, a single statement in its own."""

    def __init__(
        self,
        *,
        dsn: str,
        region: str,
        sqls: list[str],
        is_batch: bool,
        parameters: Mapping[str, str],
        described: Mapping[str, Any],
    ) -> None:
        statement_id = str(uuid.uuid4())
        self.whole = Progress(statement_id, sqls[0] if not is_batch else "")
        self.parts = [Progress(f"{statement_id}:{number}", text) for number, text in enumerate(sqls, 1) if is_batch]
        self.region = region
        self._dsn = dsn
        self._parameters = parameters
        self._described = described
        self._lock = Lock()
        self._cancelled = False
        self._committing = False
        self._connection: psycopg.Connection[Any] | None = None
        self._backend_pid = 0
        self._thread = Thread(target=self._run, name=f"statement-{statement_id}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def progress(self, statement_id: str) -> Progress | None:
        return next((each for each in (self.whole, *self.parts) if each.statement_id == statement_id), None)

    def cancel(self) -> bool:
        """Ask the backend to stop; False when it is too late."""
        with self._lock:
            if self._committing or self.whole.has_ended():
                return False
            self._cancelled = True
            if self._connection is not None:
                self._connection.cancel_safe(timeout=5)
        return True

    def as_dict(self) -> dict[str, Any]:
        described = {**self.whole.as_dict(), **self._described, "RedshiftPid": self._backend_pid}
        if self._parameters:
            described["QueryParameters"] = [{"name": name, "value": value} for name, value in self._parameters.items()]
        if self.parts:
            described["SubStatements"] = [part.as_dict() for part in self.parts]
        return described

    def _run(self) -> None:
        status, error = FINISHED, None
        try:
            # Autocommit for one statement: AWS wraps nothing around it. In a batch psycopg sends BEGIN on
            # its own, so the first statement is not in an implicit transaction. Nothing is prepared: a
            # statement is run once.
            with psycopg.connect(
                self._dsn, autocommit=not self.parts, prepare_threshold=None, application_name="redshift-data"
            ) as connection:
                self._backend_pid = connection.info.backend_pid
                try:
                    self.whole.becomes(STARTED)
                    self._enter(connection)
                    for part in self.parts or [self.whole]:
                        self._run_part(connection, part)
                    self._enter_commit()
                    connection.commit()
                finally:
                    self._leave()
        except Exception as failure:
            # Whatever went wrong is the statement's error; this thread has no other listener.
            status, error = (
                (ABORTED, "Query cancelled on user's request") if self._cancelled else (FAILED, _text(failure))
            )
            error = self._blame_part(status, error)
        self.whole.becomes(status, error)

    def _run_part(self, connection: psycopg.Connection[Any], part: Progress) -> None:
        part.becomes(STARTED)
        if self._cancelled:
            raise psycopg.errors.QueryCanceled
        if sql_text.is_several_statements(part.sql):
            # The Data API uses the extended protocol. Postgres would take several in the simple one.
            raise CopyError(
                "cannot insert multiple commands into a prepared statement: send them as a list (BatchExecuteStatement)"
            )
        if copy := RedshiftCopy.parse(part.sql):
            # In a batch its transaction is open already, and another would only add a savepoint.
            with nullcontext() if self.parts else connection.transaction(), connection.cursor() as cursor:
                part.rows = copy.run(cursor, self.region)
        else:
            with connection.cursor() as cursor:
                names = sql_text.parameter_names(part.sql)
                used = {name: value for name, value in self._parameters.items() if name in names}
                cursor.execute(sql_text.for_psycopg(part.sql, used).encode(), used or None)
                part.rows = cursor.rowcount
                part.result = StatementResult.of(cursor)
        if part is not self.whole:
            part.becomes(FINISHED)

    def _blame_part(self, status: str, error: str) -> str:
        """Of a batch, the one that broke FAILED, those before it stay FINISHED (and are rolled back), those
        after it are ABORTED."""
        for number, part in enumerate(self.parts, 1):
            if part.status == STARTED:
                part.becomes(status, error)
                error = f"Query #{number} failed with {error}"
            elif part.status == SUBMITTED:
                part.becomes(ABORTED)
        return error

    def _enter(self, connection: psycopg.Connection[Any]) -> None:
        with self._lock:
            self._connection = connection

    def _enter_commit(self) -> None:
        with self._lock:
            if self._cancelled and self.parts:
                raise psycopg.errors.QueryCanceled
            self._committing = True

    def _leave(self) -> None:
        with self._lock:
            self._connection = None


def _text(failure: Exception) -> str:
    if isinstance(failure, psycopg.Error) and failure.diag.message_primary:
        lines = [f"ERROR: {failure.diag.message_primary}"]
        lines += [f"  Detail: {failure.diag.message_detail}"] if failure.diag.message_detail else []
        lines += [f"  Hint: {failure.diag.message_hint}"] if failure.diag.message_hint else []
        lines += [f"  Context: {note}" for note in getattr(failure, "__notes__", [])]
        return "\n".join(lines)
    return f"ERROR: {failure}"
