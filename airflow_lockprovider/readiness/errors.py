"""What the sensors raise when waiting makes no sense any more.

::

    LockProviderError
      ReadinessError                  carries the ``verdict``
        DataWillNotArrive             FAILED: the data is not coming by itself
        ReadinessMisconfigured        MISCONFIGURED: a permission, a rule or a name is wrong (also a ValueError)
"""

from __future__ import annotations

from airflow_lockprovider.lease.errors import ConfigurationError, LockProviderError
from airflow_lockprovider.readiness.verdict import Status, Verdict


class ReadinessError(LockProviderError):
    """The data is not ready and will not become so by waiting; ``verdict`` has the counts and names."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict)
        self.verdict = verdict

    def __str__(self) -> str:
        return str(self.verdict)


class DataWillNotArrive(ReadinessError):
    """The data is not coming by itself: a failed copy, a failed crawl, a source that changed."""


class ReadinessMisconfigured(ReadinessError, ConfigurationError):
    """A permission, a replication rule or a name is wrong; somebody has to change it first."""


def error_for(verdict: Verdict) -> ReadinessError:
    """The error that stands for a FAILED or MISCONFIGURED verdict."""
    return (ReadinessMisconfigured if verdict.status is Status.MISCONFIGURED else DataWillNotArrive)(verdict)
