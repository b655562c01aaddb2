"""Waits for one run of a Glue job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_lockprovider.readiness.job_run import JobRunProbe
from airflow_lockprovider.readiness.plan import Endpoint, ProbePlan
from airflow_lockprovider.sensors.checking import check_name
from airflow_lockprovider.sensors.readiness import ReadinessSensor


class GlueJobRunSensor(ReadinessSensor):
    """Waits until this run has SUCCEEDED. FAILED, STOPPED, TIMEOUT, ERROR and EXPIRED fail the task at once, with the
    run's own message and the address of its log.

    :param job_name: the job. (templated)
    :param run_id: the run, such as the output of the operator that started it. (templated)
    :param aws_conn_id: AWS connection. (templated)
    :param region_name: None: the connection's region. (templated)
    """

    template_fields: Sequence[str] = ("job_name", "run_id", "aws_conn_id", "region_name")

    def __init__(
        self,
        *,
        job_name: str,
        run_id: str,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_name("job_name", job_name)
        check_name("run_id", run_id)
        self.job_name = job_name
        self.run_id = run_id
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name

    def _plan(self) -> ProbePlan:
        return ProbePlan(
            kind=JobRunProbe.kind,
            settings={
                "job_name": self.job_name,
                "run_id": self.run_id,
                "max_transient_errors": self.max_transient_errors,
            },
            endpoints={"glue": Endpoint("glue", self.aws_conn_id, self.region_name)},
        )
