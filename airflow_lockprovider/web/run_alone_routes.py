"""The tab "Run only this" of a task: what would run, and the act. For those who may trigger the DAG."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.logging.decorators import action_logging
from airflow.models.dag import DagModel
from airflow.utils.session import create_session
from fastapi import APIRouter, Depends, HTTPException, Query, Response, status
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from airflow_lockprovider.web.pages import page
from airflow_lockprovider.web.run_alone import Alone, NotRunAlone, outlook, run_alone
from airflow_lockprovider.web.security import User, same_origin, viewing

router = APIRouter(dependencies=[Depends(viewing)], tags=["Run one task alone"])


class Wish(BaseModel):
    """Which task to run alone, and with what."""

    model_config = ConfigDict(extra="forbid")

    dag_id: str
    task_id: str
    map_index: Annotated[int, Field(ge=0)] | None = None
    """Of a mapped task only this one; else all of them."""
    conf: dict[str, Any] = Field(default_factory=dict)
    """As in the trigger form."""
    logical_date: AwareDatetime | None = Field(default_factory=lambda: datetime.now(UTC))
    """Left out: now. null: a run without one."""


class Made(BaseModel):
    """The run that was made."""

    dag_id: str
    run_id: str
    task_id: str
    with_tasks: list[str]
    """Setups and teardowns that work as well."""
    marked: dict[str, int]
    """State → how many task instances only carry it."""
    hints: list[str]
    url: str
    """Of the task in that run, below Airflow's base address."""


def _may(method: Any, dag_id: str, user: BaseUser) -> bool:
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    return get_auth_manager().is_authorized_dag(
        method=method, access_entity=DagAccessEntity.RUN, details=details, user=user
    )


def triggering(wish: Wish, user: User) -> None:
    """For those who may trigger the DAG; 403 for others."""
    if not _may("POST", wish.dag_id, user):
        raise HTTPException(status.HTTP_403_FORBIDDEN, f"you may not trigger DAG {wish.dag_id!r}")


@router.get("/run-alone", include_in_schema=False)
def run_alone_page() -> Response:
    """The tab."""
    return page("run-alone.html")


@router.get("/api/run-alone", summary="What would run")
def what_would_run(user: User, dag_id: Annotated[str, Query()], task_id: Annotated[str, Query()]) -> dict[str, Any]:
    """What would run, with which parameters, and whether this person may do it. Changes nothing."""
    if not _may("GET", dag_id, user):
        raise HTTPException(status.HTTP_403_FORBIDDEN, f"you may not see the runs of DAG {dag_id!r}")
    try:
        with create_session() as session:
            seen = outlook(dag_id, task_id, session=session)
    except NotRunAlone as error:
        raise HTTPException(error.status, str(error)) from error
    return {**seen, "may_run": _may("POST", dag_id, user)}


@router.post(
    "/api/run-alone",
    status_code=status.HTTP_201_CREATED,
    # In this order: only what is allowed comes into Airflow's audit log, with the person, the DAG and the task.
    dependencies=[Depends(same_origin), Depends(triggering), Depends(action_logging("locks.run_alone"))],
    summary="Run one task alone",
)
def run_it(wish: Wish, user: User) -> Made:
    """Make a run in which only this task works. The others are marked as done or as skipped, and never start."""
    try:
        with create_session() as session:
            made = run_alone(
                wish.dag_id,
                wish.task_id,
                session=session,
                user_name=user.get_name(),
                user_id=user.get_id(),
                map_index=wish.map_index,
                conf=wish.conf,
                logical_date=wish.logical_date,
            )
    except NotRunAlone as error:
        raise HTTPException(error.status, str(error)) from error
    return Made(
        dag_id=made.dag_id,
        run_id=made.run_id,
        task_id=made.task_id,
        with_tasks=list(made.with_tasks),
        marked=dict(made.marked),
        hints=list(made.hints),
        url=_url(made, wish.map_index),
    )


def _url(made: Alone, map_index: int | None) -> str:
    parts = ["dags", made.dag_id, "runs", made.run_id, "tasks", made.task_id]
    if map_index is not None:
        parts += ["mapped", str(map_index)]
    return "/" + "/".join(quote(part, safe="") for part in parts)
