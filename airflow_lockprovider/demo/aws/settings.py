"""What a script can change in the simulated AWS while it runs."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

_TEXTS = {"job_error"}


@dataclass(frozen=True, slots=True)
class Settings:
    """Durations are seconds. Patterns are regular expressions, searched for; None switches one off. A crawl or job
    run keeps the settings that held when it started."""

    replication_delay: float = 0.2
    """From the end of the write to the arrival of its copy."""
    replication_jitter: float = 0.1
    """Up to this much is added to each copy's delay, so copies overtake each other, as they do on AWS."""
    replication_fail: str | None = None
    """Copies whose ``destination_bucket/key`` matches become FAILED instead of arriving."""
    replication_stall: str | None = None
    """Copies whose ``destination_bucket/key`` matches stay PENDING until the pattern changes."""
    crawl_start_lag: float = 0.0
    """How long GetCrawler still says READY after StartCrawler. Whether AWS has such a lag is not documented;
    the amazon provider's crawler operators do not survive one."""
    crawl_duration: float = 0.5
    crawl_stopping: float = 0.1
    crawl_fail: str | None = None
    """Crawlers whose name matches end as FAILED and write nothing."""
    crawl_skip: str | None = None
    """Folders whose ``s3://bucket/key/`` matches are left out by every crawl, which succeeds all the same (as one
    does that finds another schema there)."""
    job_start_lag: float = 0.0
    """How long a Glue job run is STARTING."""
    job_duration: float = 0.3
    """How long it is RUNNING."""
    job_outcomes: dict[str, str] | None = None
    """``{"^load": "EXPIRED"}``: in which state the runs of jobs with such a name end; else SUCCEEDED."""
    job_error: str | None = None
    """The ErrorMessage of the runs that do not succeed; None: what AWS says for the state."""
    partitions_per_answer: float | None = None
    """BatchGetPartition answers so many keys and gives the others back as UnprocessedKeys. None: all."""
    batch_preparing: float = 0.1
    """How long an S3 Batch job looks for its objects. It then copies with the delay of replication."""
    latency: float = 0.0
    """Added to every AWS request."""
    request_errors: dict[str, str] | None = None
    """``{"s3.ListObjectsV2": "SlowDown"}``: this operation answers with that error code until the entry is
    gone."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, str) and name not in _TEXTS:
                try:
                    re.compile(value)
                except re.error as error:
                    raise ValueError(f"{name}={value!r} is not a regular expression: {error}") from error
            elif isinstance(value, bool) or (isinstance(value, int | float) and value < 0):
                raise ValueError(f"{name}={value!r} must be a number, 0 or more")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def changed(self, **changes: Any) -> Settings:
        unknown = changes.keys() - {field.name for field in fields(self)}
        if unknown:
            known = ", ".join(field.name for field in fields(self))
            raise ValueError(f"unknown setting {', '.join(sorted(unknown))}; the simulated AWS knows: {known}")
        return replace(self, **changes)


def matches(pattern: str | None, text: str) -> bool:
    return pattern is not None and re.search(pattern, text) is not None
