"""What an error of an AWS client means for somebody who waits. Recognised by shape, botocore is not imported."""

from __future__ import annotations

from enum import Enum


class ErrorKind(Enum):
    """What to do about it."""

    TRANSIENT = "try again"
    DENIED = "try again a few times, then it is a permission"
    WRONG = "name, region or argument is wrong"


# Answers that a fresh token, a quieter minute or a second try can change.
_TRANSIENT = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "RequestTimeout",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "ProvisionedThroughputExceededException",
        "InternalError",
        "InternalServiceException",
        "OperationTimeoutException",
        "ServiceUnavailable",
    }
)
_DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AllAccessDisabled",
        "Forbidden",
        "403",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
        "InvalidClientTokenId",
    }
)
_WRONG = frozenset(
    {
        "NoSuchBucket",
        "EntityNotFoundException",
        "InvalidBucketName",
        "PermanentRedirect",
        "301",
        "AuthorizationHeaderMalformed",
        "InvalidInputException",
        "ValidationException",
        "InvalidArgument",
        "MethodNotAllowed",
        "NotImplemented",
    }
)
# An IAM action is seldom called like the request that needs it.
_IAM_ACTION = {
    "ListObjectsV2": "s3:ListBucket",
    "ListObjectVersions": "s3:ListBucketVersions",
    "GetObject": "s3:GetObject",
    # Without s3:ListBucket S3 answers 403 instead of 404 for an absent key.
    "HeadObject": "s3:GetObject and s3:ListBucket",
    "GetBucketReplication": "s3:GetReplicationConfiguration (or set preflight=False)",
    "GetBucketVersioning": "s3:GetBucketVersioning",
    "GetCrawler": "glue:GetCrawler",
    "StartCrawler": "glue:StartCrawler",
    "CreateJob": "s3:CreateJob and iam:PassRole (of the role that the job takes)",
    "DescribeJob": "s3:DescribeJob",
    "GetTable": "glue:GetTable",
    "BatchGetPartition": "glue:BatchGetPartition",
    "GetJobRun": "glue:GetJobRun",
    "HeadBucket": "s3:ListBucket",
    "ExecuteStatement": "redshift-data:ExecuteStatement",
    "DescribeStatement": "redshift-data:DescribeStatement",
    "GetStatementResult": "redshift-data:GetStatementResult",
}


def code_of(error: BaseException) -> str:
    """The service's error code (``"NoSuchBucket"``), or ``""`` if no service answered."""
    return str(_answer(error).get("Error", {}).get("Code", ""))


def http_status_of(error: BaseException) -> int:
    """The HTTP status of the answer, or 0 if there was none."""
    return int(_answer(error).get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)


def iam_action_of(error: BaseException) -> str:
    """The IAM action the refused request needs."""
    operation = getattr(error, "operation_name", "") or "the request"
    return _IAM_ACTION.get(operation, operation)


def place_of(error: BaseException) -> str:
    """The bucket that the failed request was about, as a probe has noted it; ``""`` if there was none."""
    return str(getattr(error, "place", ""))


def is_client_error(error: BaseException) -> bool:
    """Whether it comes from the network or from AWS, not from a mistake in our own code."""
    module = type(error).__module__.partition(".")[0]
    return bool(_answer(error)) or module in {"botocore", "urllib3"} or isinstance(error, OSError)


def kind_of(error: BaseException) -> ErrorKind:
    """Classify. What is unknown counts as transient: those are tolerated with a bound, so nothing is endless."""
    code, status = code_of(error), http_status_of(error)
    if code in _TRANSIENT or status >= 500 or status == 429:
        return ErrorKind.TRANSIENT
    if code in _DENIED or status in (401, 403):
        return ErrorKind.DENIED
    if code in _WRONG or type(error).__name__ in {"ParamValidationError", "InvalidRegionError", "NoRegionError"}:
        return ErrorKind.WRONG
    return ErrorKind.TRANSIENT


def in_short(error: BaseException) -> str:
    """One line for the log: ``HeadObject: SlowDown: Please reduce your request rate``."""
    answer = _answer(error).get("Error", {})
    if not answer:
        return f"{type(error).__name__}: {error}"[:300]
    parts = (getattr(error, "operation_name", ""), answer.get("Code"), answer.get("Message"))
    return ": ".join(str(part) for part in parts if part)[:300]


def _answer(error: BaseException) -> dict[str, dict[str, str]]:
    response = getattr(error, "response", None)
    return response if isinstance(response, dict) else {}
