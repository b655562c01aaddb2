"""Run one task of a DAG alone: a run of its own, in which all the others are done already.

It works on Airflow's database models, in one transaction: the scheduler sees the run when all of it is there, so no
other task can start. All that depends on these models is in this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_lockprovider.compat import KNOWS_RUN_MODELS, AirflowException, airflow_version
from airflow_lockprovider.web.run_alone_plan import Plan, plan_for

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from sqlalchemy.orm import Session


class NotRunAlone(Exception):
    """The task cannot be run alone. ``status`` is the HTTP status for it."""

    def __init__(self, text: str, status: int = 409) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Alone:
    """The run that was made."""

    dag_id: str
    run_id: str
    task_id: str
    with_tasks: tuple[str, ...]
    """Setups and teardowns that work as well."""
    marked: Mapping[str, int]
    """State → how many task instances were marked with it."""
    hints: tuple[str, ...]
    """What the person should know: that the DAG is paused, for example."""


def run_alone(
    dag_id: str,
    task_id: str,
    *,
    session: Session,
    user_name: str,
    user_id: str | None = None,
    map_index: int | None = None,
    conf: Mapping[str, Any] | None = None,
    logical_date: datetime | None = None,
    now: datetime | None = None,
) -> Alone:
    """Make the run, in the transaction of ``session``; the caller commits. Raises NotRunAlone.

    ``map_index``: of a mapped task only this one. ``conf``: as in the trigger form. ``logical_date`` may stay None, as
    in a run that was triggered without one.
    """
    now = now or datetime.now(UTC)
    model, dag = _found(dag_id, task_id, session)
    plan = plan_for(dag, task_id)
    run = _create(dag, session, plan, user_name, conf, logical_date, now)
    run.note = (_note(plan, map_index, user_name), user_id)
    session.flush()
    marked = _mark(dag, run, plan, map_index, session, now)
    hints = []
    if model.is_paused:
        hints.append(f"DAG {dag_id!r} is paused: the run waits until somebody unpauses it")
    if dag.get_task(task_id).downstream_task_ids - plan.helpers:
        hints.append("tasks come after this one: the run ends green even if the task fails, so look at the task")
    return Alone(dag_id, run.run_id, task_id, tuple(sorted(plan.helpers)), marked, tuple(hints))


def outlook(dag_id: str, task_id: str, *, session: Session) -> dict[str, Any]:
    """What `run_alone` would do, for people: nothing is changed. Raises NotRunAlone where it would."""
    model, dag = _found(dag_id, task_id, session)
    plan, task = plan_for(dag, task_id), dag.get_task(task_id)
    for working in plan.working:
        _refuse_unknown_map(dag.get_task(working), "", session)
    return {
        "dag_id": dag_id,
        "task_id": task_id,
        "with_tasks": sorted(plan.helpers),
        "mapped": bool(task.is_mapped or task.get_closest_mapped_task_group()),
        "paused": bool(model.is_paused),
        "not_last": bool(task.downstream_task_ids - plan.helpers),
        "others": len(plan.others),
        "params": dag.params.dump(),
    }


def _found(dag_id: str, task_id: str, session: Session) -> tuple[Any, Any]:
    """The DAG as the database knows it, and as the scheduler runs it."""
    if not KNOWS_RUN_MODELS:
        raise NotRunAlone(
            f"this package does not know how Airflow {airflow_version()} keeps its runs: clear the task in an earlier "
            "run, or use airflow dags test --mark-success-pattern",
            501,
        )
    from airflow.models.dag import DagModel
    from airflow.models.dagbag import DBDagBag

    model = session.get(DagModel, dag_id)
    dag = DBDagBag(load_op_links=False).get_latest_version_of_dag(dag_id, session=session)
    if model is None or model.is_stale or dag is None:
        raise NotRunAlone(f"there is no DAG {dag_id!r}", 404)
    if not dag.has_task(task_id):
        raise NotRunAlone(f"DAG {dag_id!r} has no task {task_id!r}", 404)
    if model.has_import_errors:
        raise NotRunAlone(f"the file of DAG {dag_id!r} has import errors: repair it first")
    if model.allowed_run_types is not None and "manual" not in map(str, model.allowed_run_types):
        raise NotRunAlone(f"DAG {dag_id!r} allows no manual runs")
    return model, dag


def _create(
    dag: Any,
    session: Session,
    plan: Plan,
    user_name: str,
    conf: Mapping[str, Any] | None,
    logical_date: datetime | None,
    now: datetime,
) -> DagRun:
    from airflow.exceptions import ParamValidationError
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType
    from sqlalchemy.exc import IntegrityError

    interval = dag.timetable.infer_manual_data_interval(run_after=logical_date) if logical_date else None
    run_id = dag.timetable.generate_run_id(run_type=DagRunType.MANUAL, run_after=now, data_interval=interval)
    for working in plan.working:
        _refuse_unknown_map(dag.get_task(working), run_id, session)
    try:
        run: DagRun = dag.create_dagrun(
            run_id=run_id,
            logical_date=logical_date,
            data_interval=interval,
            run_after=now,
            conf=dict(conf or {}),
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.UI,
            triggering_user_name=user_name,
            state=DagRunState.QUEUED,
            session=session,
        )
    except IntegrityError as error:
        raise NotRunAlone(f"DAG {dag.dag_id!r} has a run of that moment already: try again") from error
    except (ParamValidationError, ValueError, AirflowException) as error:
        raise NotRunAlone(f"DAG {dag.dag_id!r} cannot be run: {' '.join(str(error).split())}", 400) from error
    return run


def _refuse_unknown_map(task: Any, run_id: str, session: Session) -> None:
    """A task that is mapped over what another task returns has nothing to be mapped over in a run of its own."""
    from airflow.exceptions import NotMapped
    from airflow.models.expandinput import NotFullyPopulated
    from airflow.serialization.definitions.mappedoperator import get_mapped_ti_count

    remedy = "clear it in an earlier run instead"
    try:
        if get_mapped_ti_count(task, run_id, session=session) == 0:
            raise NotRunAlone(f"task {task.task_id!r} is mapped over nothing: {remedy}")
    except NotMapped:
        return
    except NotFullyPopulated as error:
        raise NotRunAlone(
            f"task {task.task_id!r} is mapped over what other tasks return, and they do not run: {remedy}"
        ) from error


def _mark(dag: Any, run: DagRun, plan: Plan, map_index: int | None, session: Session, now: datetime) -> dict[str, int]:
    """Give every task instance but the ones that work its state."""
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select, update

    found = session.execute(
        select(TaskInstance.id, TaskInstance.task_id, TaskInstance.map_index).where(
            TaskInstance.dag_id == run.dag_id, TaskInstance.run_id == run.run_id
        )
    ).all()
    # Airflow rolls back on its own where another process was faster, and tells nobody.
    if not found:
        raise NotRunAlone("Airflow could not create the tasks of the run: try again")
    states: dict[str, list[Any]] = {}
    works = set()
    for instance, task_id, index in found:
        if task_id in plan.others:
            states.setdefault(plan.others[task_id], []).append(instance)
        elif map_index is not None and index != map_index and _mapped_alike(dag, task_id, plan.task_id):
            states.setdefault("skipped", []).append(instance)
        else:
            works.add(task_id)
    if plan.task_id not in works:
        which = plan.task_id if map_index is None else f"{plan.task_id}[{map_index}]"
        raise NotRunAlone(f"the run would have no task {which!r}: see its start date and its map indexes", 404)
    done = {"start_date": now, "end_date": now, "duration": 0.0}
    for state, instances in states.items():
        for some in _slices(instances):
            session.execute(
                update(TaskInstance)
                .where(TaskInstance.id.in_(some))
                .values(state=state, **done)
                .execution_options(synchronize_session=False)
            )
    session.expire_all()
    return {state: len(instances) for state, instances in states.items()}


def _mapped_alike(dag: Any, task_id: str, alone: str) -> bool:
    """Whether the same map index of both means the same piece of work."""
    if task_id == alone:
        return True
    group = dag.get_task(alone).get_closest_mapped_task_group()
    other = dag.get_task(task_id).get_closest_mapped_task_group()
    return group is not None and other is not None and group.group_id == other.group_id


def _slices(instances: list[Any], size: int = 500) -> list[list[Any]]:
    """Pieces that fit into the list of one statement."""
    return [instances[at : at + size] for at in range(0, len(instances), size)]


def _note(plan: Plan, map_index: int | None, user_name: str) -> str:
    which = f"`{plan.task_id}`" if map_index is None else f"`{plan.task_id}` [{map_index}]"
    also = f" (with {', '.join(f'`{name}`' for name in sorted(plan.helpers))})" if plan.helpers else ""
    return f"Only {which}{also}, asked for by {user_name}. The other tasks did not run: they are only marked."
