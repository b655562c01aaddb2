"""The WSGI application in front of moto: counts, scripts, and answers what moto cannot."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import xmltodict  # type: ignore[import-untyped]

from airflow_lockprovider.demo.aws import batch_replication, replication_rules
from airflow_lockprovider.demo.aws.errors import AwsError
from airflow_lockprovider.demo.aws.faults import DISCONNECT, Faults, error_of
from airflow_lockprovider.demo.aws.replication import Replication
from airflow_lockprovider.demo.aws.request import AwsRequest, RequestCounts
from airflow_lockprovider.demo.aws.settings import Settings

CONTROL_PATH = "/_simulation"
_OBJECT_WRITES = {"PutObject", "CopyObject", "CompleteMultipartUpload"}
_OBJECT_READS = {"HeadObject", "GetObject"}
_OBJECT_DELETES = {"DeleteObject", "DeleteObjects"}

StartResponse = Callable[..., Any]
WsgiApp = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


class JsonService(Protocol):
    """A service that speaks JSON and answers some operations in moto's place."""

    def answer(self, request: AwsRequest) -> dict[str, Any] | None:
        """The answer, or None to leave this operation to moto."""


class Control(Protocol):
    """What ``/_simulation`` shows and changes."""

    def report(self) -> dict[str, Any]: ...

    def apply(self, changes: dict[str, Any]) -> None: ...


class Gateway:
    def __init__(
        self,
        moto: WsgiApp,
        *,
        settings: Callable[[], Settings],
        control: Control,
        counts: RequestCounts,
        faults: Faults,
        replication: Replication,
        batch: batch_replication.BatchReplication,
        services: dict[str, Sequence[JsonService]],
    ) -> None:
        self._moto = moto
        self._settings = settings
        self._control = control
        self._counts = counts
        self._faults = faults
        self._replication = replication
        self._batch = batch
        self._services = services

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == CONTROL_PATH:
            return self._answer_control(environ, start_response)
        if environ["PATH_INFO"].startswith("/moto-api"):
            return self._moto(environ, start_response)
        request = AwsRequest.from_environ(environ)
        if request.service == "s3control":
            operation = batch_replication.operation_of(environ["REQUEST_METHOD"], environ["PATH_INFO"])
            request = replace(request, operation=operation)
        self._counts.add(request)
        settings = self._settings()
        hit = self._faults.hit(request)
        time.sleep(settings.latency + sum(fault.latency for fault in hit))
        codes = [fault.code for fault in hit if fault.code]
        codes += filter(None, [(settings.request_errors or {}).get(f"{request.service}.{request.operation}")])
        if DISCONNECT in codes:
            return _hang_up(environ)
        try:
            if codes:
                raise error_of(codes[0], request.operation)
            if request.service == "s3" and (xml := _answer_s3(request)) is not None:
                return _send(start_response, 200, "application/xml", xml)
            if request.service == "s3control" and (xml := self._batch.answer(request)) is not None:
                return _send(start_response, 200, "application/xml", xml)
            for service in self._services.get(request.service, ()):
                if (answer := service.answer(request)) is not None:
                    return _send_json(start_response, 200, answer)
        except AwsError as error:
            if request.service in ("s3", "s3control"):
                # The answer to a HEAD has no body, so its client sees the status alone, as on AWS.
                body = b"" if environ["REQUEST_METHOD"] == "HEAD" else error.as_xml()
                return _send(start_response, error.status, "application/xml", body)
            return _send_json(start_response, error.status, error.as_json())
        return self._moto(environ, self._watch(request, start_response))

    def _watch(self, request: AwsRequest, start_response: StartResponse) -> StartResponse:
        """Let moto answer, and note on the way out what S3 replication has to know or to add."""
        if request.operation not in _OBJECT_WRITES | _OBJECT_READS | _OBJECT_DELETES or request.service != "s3":
            return start_response
        deleted = _deleted_keys(request)

        def watched(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            version_id = next((value for name, value in headers if name.lower() == "x-amz-version-id"), None)
            if not status.startswith("2"):
                return start_response(status, headers, *more)
            if request.operation in _OBJECT_WRITES:
                self._replication.written(request.bucket, request.key, version_id)
            elif request.operation in _OBJECT_DELETES:
                for key in deleted:
                    self._replication.deleted(request.bucket, key)
            elif version_id and (shown := self._replication.status(request.bucket, request.key, version_id)):
                headers = [*headers, ("x-amz-replication-status", shown)]
            return start_response(status, headers, *more)

        return watched

    def _answer_control(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "POST":
            try:
                changes = json.loads(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)) or b"{}")
                self._control.apply(changes)
            except (ValueError, TypeError) as error:
                return _send_json(start_response, 400, {"error": str(error)})
        return _send_json(start_response, 200, self._control.report())


def _deleted_keys(request: AwsRequest) -> list[str]:
    """What is deleted, but for what is named with its version: that leaves no marker."""
    if request.operation == "DeleteObject":
        return [] if "versionId=" in request.environ.get("QUERY_STRING", "") else [request.key]
    if request.operation != "DeleteObjects":
        return []
    objects = xmltodict.parse(request.body())["Delete"]["Object"]
    return [each["Key"] for each in (objects if isinstance(objects, list) else [objects]) if not each.get("VersionId")]


def _answer_s3(request: AwsRequest) -> bytes | None:
    if request.operation == "PutBucketReplication":
        replication_rules.check_destinations(request.body())
    if request.operation == "GetBucketReplication":
        return replication_rules.configuration_xml(request.bucket)
    return None


def _hang_up(environ: dict[str, Any]) -> Iterable[bytes]:
    # The answer that the server still writes goes nowhere; it takes the broken pipe for a client that left.
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError("scripted by the simulation")


def _send_json(start_response: StartResponse, status: int, answer: dict[str, Any]) -> Iterable[bytes]:
    return _send(start_response, status, "application/x-amz-json-1.1", json.dumps(answer).encode())


def _send(start_response: StartResponse, status: int, content_type: str, body: bytes) -> Iterable[bytes]:
    start_response(
        f"{status} {'OK' if status == 200 else 'Error'}",
        [("Content-Type", content_type), ("Content-Length", str(len(body)))],
    )
    return [body]
