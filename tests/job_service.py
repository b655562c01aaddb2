"""A Glue job run in memory, in place of the boto3 clients of worker and triggerer."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_lockprovider.readiness.plan import ProbePlan
from airflow_lockprovider.sensors import GlueJobRunSensor
from airflow_lockprovider.sensors import readiness as sensor_module
from airflow_lockprovider.triggers import readiness as trigger_module


class JobService:
    """One run, in the state that the test says. ``pause``: seconds until it answers."""

    def __init__(self) -> None:
        self.state, self.message = "RUNNING", ""
        self.pause = 0.0
        self.errors: list[Exception] = []
        self.requests = 0

    def get_job_run(self, **_: Any) -> dict[str, Any]:
        self.requests += 1
        time.sleep(self.pause)
        if self.errors:
            raise self.errors.pop(0)
        return {"JobRun": {"JobRunState": self.state, "ErrorMessage": self.message, "ExecutionTime": 90}}

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        client = SimpleNamespace(get_job_run=self.get_job_run)

        async def connect(plan: ProbePlan, **_: Any) -> dict[str, Any]:
            return dict.fromkeys(plan.endpoints, client)

        monkeypatch.setattr(sensor_module, "client_of", lambda endpoint: client)
        monkeypatch.setattr(trigger_module, "connect", connect)


def job_run(**settings: Any) -> GlueJobRunSensor:
    """A sensor for it, in a hurry."""
    given = {"task_id": "wait", "job_name": "load", "run_id": "jr_1", "poke_interval": 0.01, "timeout": 60, **settings}
    return GlueJobRunSensor(**given)
