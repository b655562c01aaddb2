"""Faults in chosen requests: the third HEAD is throttled, every listing of one bucket is slow, a token expires."""

from __future__ import annotations

import re
from dataclasses import dataclass
from threading import Lock

from airflow_lockprovider.demo.aws.errors import AwsError
from airflow_lockprovider.demo.aws.request import AwsRequest

DISCONNECT = "disconnect"
"""Instead of an error code: the connection ends without an answer."""

_STATUS_OF = {
    "AccessDenied": 403,
    "AllAccessDisabled": 403,
    "InvalidAccessKeyId": 403,
    "RequestTimeTooSkewed": 403,
    "SignatureDoesNotMatch": 403,
    "InternalError": 500,
    "InternalServiceException": 500,
    "OperationTimeoutException": 500,
    "NoSuchBucket": 404,
    "ServiceUnavailable": 503,
    "SlowDown": 503,
}


def error_of(code: str, operation: str) -> AwsError:
    """The answer with that error code, in the HTTP status that AWS documents for it (400 for all others: also
    ExpiredToken, Throttling and every JSON service's own errors)."""
    return AwsError(code, f"{operation}: scripted by the simulation", _STATUS_OF.get(code, 400))


@dataclass(frozen=True, slots=True)
class Fault:
    """What befalls some requests of one operation, ``"s3.HeadObject"``, or of a whole service, ``"s3.*"``.

    ``code``: an AWS error code, `DISCONNECT`, or None for slowness alone. The first ``skip`` requests are spared,
    the next ``times`` are hit (None: all). ``where`` is a regular expression, searched for in ``bucket/key`` for S3
    and in the JSON body for the other services. ``region`` is the client's. ``latency`` is seconds.
    """

    operation: str
    code: str | None = None
    skip: int = 0
    times: int | None = None
    where: str | None = None
    region: str | None = None
    latency: float = 0.0

    def __post_init__(self) -> None:
        service, _, operation = self.operation.partition(".")
        if not service or not operation:
            raise ValueError(f"operation={self.operation!r} must be service.Operation, as in 's3.HeadObject' or 's3.*'")
        if self.code is None and not self.latency:
            raise ValueError(f"a fault of {self.operation} needs a code or a latency")
        if self.skip < 0 or self.latency < 0 or (self.times is not None and self.times < 1):
            raise ValueError(f"a fault of {self.operation}: skip and latency are 0 or more, times at least 1")
        try:
            re.compile(self.where or "")
        except re.error as error:
            raise ValueError(f"where={self.where!r} is not a regular expression: {error}") from error

    def concerns(self, request: AwsRequest) -> bool:
        """Whether it speaks of requests like this one."""
        if self.operation not in (f"{request.service}.{request.operation}", f"{request.service}.*"):
            return False
        if self.region not in (None, request.region):
            return False
        if self.where is None:
            return True
        text = (
            f"{request.bucket}/{request.key}" if request.service == "s3" else request.body().decode("utf-8", "replace")
        )
        return re.search(self.where, text) is not None


class Faults:
    """The faults in force, and how often each has met a request. Used by many server threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._seen: list[tuple[Fault, list[int]]] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._seen.append((fault, [0]))

    def replace(self, faults: list[Fault]) -> None:
        with self._lock:
            self._seen = [(fault, [0]) for fault in faults]

    def hit(self, request: AwsRequest) -> list[Fault]:
        """What befalls this request; counts it."""
        hit = []
        with self._lock:
            for fault, count in self._seen:
                if fault.concerns(request):
                    count[0] += 1
                    if count[0] > fault.skip and (fault.times is None or count[0] <= fault.skip + fault.times):
                        hit.append(fault)
        return hit
