"""Has this run of a Glue job succeeded?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.cloudwatch import log_link
from airflow_lockprovider.readiness.probe import Probe
from airflow_lockprovider.readiness.verdict import Status, Verdict, in_words

_DONE = "SUCCEEDED"
_FAILED = frozenset({"FAILED", "STOPPED", "TIMEOUT", "ERROR", "EXPIRED"})
_UNDERWAY = frozenset({"STARTING", "RUNNING", "STOPPING", "WAITING"})
_LOG_GROUP = "/aws-glue/jobs"


class JobRunProbe(Probe):
    """One GetJobRun for a look. Every state in which a run can end is known: SUCCEEDED is READY; FAILED, STOPPED,
    TIMEOUT, ERROR and EXPIRED fail with the run's own message. A state that is new to us is waited out, and named.
    """

    kind: ClassVar[str] = "glue_job_run"
    client_services: ClassVar[Mapping[str, str]] = {"glue": "glue"}

    def __init__(
        self, clients: Mapping[str, Any], *, job_name: str, run_id: str, max_transient_errors: int = 10
    ) -> None:
        super().__init__(clients, max_transient_errors=max_transient_errors)
        if not job_name or not run_id:
            raise ConfigurationError(f"job_name={job_name!r} and run_id={run_id!r} must both be given")
        self.job_name, self.run_id = job_name, run_id

    def _begin(self) -> Verdict:
        self.must_begin = False
        return self._step()

    def _step(self) -> Verdict:
        answer = self._request("glue", "get_job_run", JobName=self.job_name, RunId=self.run_id)
        run: Mapping[str, Any] = answer["JobRun"]
        state = run.get("JobRunState", "")
        if state == _DONE:
            return Verdict(
                Status.READY,
                reason=f"{self._name()} {state} after {in_words(run.get('ExecutionTime') or 0)}",
                requests=self.requests,
                lag=_between(run.get("StartedOn"), run.get("CompletedOn")),
            )
        if state in _FAILED:
            message = run.get("ErrorMessage") or run.get("StateDetail") or "no error message"
            return self._verdict(Status.FAILED, f"{self._name()} {state}: {message}{self._log_of(run)}")
        if state in _UNDERWAY:
            detail = f" ({run['StateDetail']})" if run.get("StateDetail") else ""
            return self._waiting(f"{self._name()} is {state}{detail}")
        return self._waiting(
            f"{self._name()} is {state or 'without a state'}, which is unknown here: waiting for its end"
        )

    def _name(self) -> str:
        return f"run {self.run_id} of {self.job_name}"

    def _log_of(self, run: Mapping[str, Any]) -> str:
        group = run.get("LogGroupName") or _LOG_GROUP
        return log_link(f"{group}/error", self.run_id, self._region() or "us-east-1")

    def _waiting(self, reason: str) -> Verdict:
        return self._verdict(Status.WAIT, reason)

    def _described(self) -> str:
        return f"the {self._name()} in {self._region() or 'its region'} (a Glue job)"

    def _region(self) -> str:
        return getattr(getattr(self.clients.get("glue"), "meta", None), "region_name", None) or ""

    def _memory(self) -> dict[str, Any]:
        return {}

    def _remember(self, memory: Mapping[str, Any]) -> None:
        pass


def _between(start: datetime | None, end: datetime | None) -> float | None:
    return (end - start).total_seconds() if start and end else None
