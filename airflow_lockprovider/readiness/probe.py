"""The shape of every probe, and its patience with errors."""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from airflow_lockprovider.readiness.client_error import (
    ErrorKind,
    iam_action_of,
    in_short,
    is_client_error,
    kind_of,
    place_of,
)
from airflow_lockprovider.readiness.verdict import Status, Verdict

DENIALS_BELIEVED = 3
"""So many refusals in a row are a missing permission, not a role that is still being propagated."""


class Probe(ABC):
    """Looks at one thing, again and again, until it is READY, FAILED or MISCONFIGURED.

    ``begin()`` decides what is waited for and may change the world (start a crawl), so it belongs into the one
    process that runs once: the worker. ``step()`` only looks and can be repeated anywhere. While ``must_begin``
    is true, ``begin()`` is what has to be called (again). Neither raises for errors of the network or of AWS:
    they answer WAIT until ``max_transient_errors`` in a row.

    ``clients`` are boto3 clients (or anything with the same methods) by the names in ``client_services``.
    """

    kind: ClassVar[str]
    client_services: ClassVar[Mapping[str, str]]

    def __init__(self, clients: Mapping[str, Any], *, max_transient_errors: int = 10) -> None:
        self.clients = dict(clients)
        self.max_transient_errors = max_transient_errors
        self.must_begin = True
        self.errors_in_a_row = 0
        self.errors = 0
        self.requests = 0
        self._denials = 0
        self._denials_believed = DENIALS_BELIEVED
        self._counting = threading.Lock()

    def begin(self) -> Verdict:
        """Fix what is waited for, and look once."""
        return self._tolerantly(self._begin)

    def step(self) -> Verdict:
        """Look again."""
        return self._tolerantly(self._step)

    def look(self) -> Verdict:
        """Look once and change nothing in the world, for somebody who only wants to know."""
        self._denials_believed = 1  # no further look will tell whether a refusal was meant
        return self._tolerantly(self._look_once)

    def state(self) -> str:
        """All that another process needs to go on, as short text."""
        return json.dumps(
            {
                "must_begin": self.must_begin,
                "requests": self.requests,
                "errors_in_a_row": self.errors_in_a_row,
                "errors": self.errors,
                "denials": self._denials,
                **self._memory(),
            }
        )

    def restore(self, state: str) -> None:
        """Go on where ``state()`` was taken; ``begin()`` is not done again if it was done before."""
        memory = json.loads(state)
        self.must_begin, self.requests = memory["must_begin"], memory["requests"]
        self.errors_in_a_row, self.errors = memory["errors_in_a_row"], memory["errors"]
        self._denials = memory["denials"]
        self._remember(memory)

    @abstractmethod
    def _memory(self) -> dict[str, Any]:
        """What ``_remember`` needs in another process, in JSON's own types."""

    @abstractmethod
    def _remember(self, memory: Mapping[str, Any]) -> None: ...

    @abstractmethod
    def _begin(self) -> Verdict: ...

    @abstractmethod
    def _step(self) -> Verdict: ...

    def _look_once(self) -> Verdict:
        """As ``_begin``, where that changes nothing."""
        return self._begin()

    @abstractmethod
    def _waiting(self, reason: str) -> Verdict:
        """WAIT with what is known already."""

    def _verdict(self, status: Status, reason: str = "") -> Verdict:
        return Verdict(status, reason=reason, requests=self.requests)

    def _request(self, client: str, operation: str, **arguments: Any) -> Any:
        with self._counting:
            self.requests += 1
        try:
            return getattr(self.clients[client], operation)(**arguments)
        except Exception as error:
            if bucket := arguments.get("Bucket"):
                error.__dict__["place"] = f"s3://{bucket}"  # of two buckets, say which one
            raise

    def _tolerantly(self, look: Any) -> Verdict:
        try:
            verdict: Verdict = look()
        except Exception as error:
            if not is_client_error(error):
                raise
            verdict = self._judge(error)
        else:
            self.errors_in_a_row = self._denials = 0
        return replace(verdict, requests=self.requests, errors=self.errors)

    def _judge(self, error: Exception) -> Verdict:
        self.errors_in_a_row += 1
        self.errors += 1
        kind, text, place = kind_of(error), in_short(error), place_of(error) or self._described()
        if kind is ErrorKind.WRONG:
            return self._verdict(Status.MISCONFIGURED, f"{text}; check {place}")
        if kind is ErrorKind.DENIED:
            self._denials += 1
            if self._denials >= self._denials_believed:
                often = f" {self._denials} times in a row" if self._denials > 1 else ""
                return self._verdict(
                    Status.MISCONFIGURED,
                    f"refused{often} ({text}): allow {iam_action_of(error)} for {place}",
                )
        else:
            self._denials = 0
        if self.errors_in_a_row >= self.max_transient_errors:
            return self._verdict(
                Status.FAILED, f"{self.errors_in_a_row} errors in a row, the last one {text} ({place})"
            )
        return self._waiting(f"error {self.errors_in_a_row} of {self.max_transient_errors} tolerated: {text}")

    @abstractmethod
    def _described(self) -> str:
        """What is looked at, for error messages."""
