from __future__ import annotations

import subprocess
import sys

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ParamValidationError, ReadTimeoutError
from fake_aws import FakeClientError

from airflow_lockprovider.readiness.client_error import ErrorKind, in_short, is_client_error, kind_of


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("SlowDown", 503, ErrorKind.TRANSIENT),
        ("ExpiredToken", 400, ErrorKind.TRANSIENT),
        ("ExpiredToken", 403, ErrorKind.TRANSIENT),
        ("400", 400, ErrorKind.TRANSIENT),  # HEAD has no body: an expired token is a bare 400
        ("InternalError", 500, ErrorKind.TRANSIENT),
        ("NeverHeardOf", 418, ErrorKind.TRANSIENT),
        ("AccessDenied", 403, ErrorKind.DENIED),
        ("403", 403, ErrorKind.DENIED),
        ("AccessDeniedException", 400, ErrorKind.DENIED),
        ("NoSuchBucket", 404, ErrorKind.WRONG),
        ("PermanentRedirect", 301, ErrorKind.WRONG),
        ("EntityNotFoundException", 400, ErrorKind.WRONG),
    ],
)
def test_answers_are_told_apart(code: str, status: int, kind: ErrorKind) -> None:
    assert kind_of(FakeClientError("HeadObject", code, status)) is kind


def test_botocores_own_errors_are_recognised_without_importing_it() -> None:
    answer = {"Error": {"Code": "SlowDown", "Message": "please"}, "ResponseMetadata": {"HTTPStatusCode": 503}}
    assert kind_of(ClientError(answer, "ListObjectsV2")) is ErrorKind.TRANSIENT
    assert in_short(ClientError(answer, "ListObjectsV2")) == "ListObjectsV2: SlowDown: please"
    for error in (EndpointConnectionError(endpoint_url="x"), ReadTimeoutError(endpoint_url="x"), TimeoutError()):
        assert is_client_error(error)
        assert kind_of(error) is ErrorKind.TRANSIENT
    assert kind_of(ParamValidationError(report="bad bucket")) is ErrorKind.WRONG


def test_our_own_mistakes_are_not_client_errors() -> None:
    assert not is_client_error(KeyError("Contents"))
    assert not is_client_error(TypeError("missing argument"))


def test_the_rules_import_neither_airflow_nor_boto() -> None:
    code = (
        "import sys, airflow_lockprovider.readiness.plan; "
        "print([name for name in ('airflow', 'boto3', 'botocore') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
