"""The parameter "only this step" of the trigger form.

Give a DAG ``params={"only_step": only_step(...)}`` and ``default_args=STEP_DEFAULTS``. Airflow calls ``pre_execute``
before the task's own work, so a step that was not chosen is skipped before it takes a lock, starts a crawl or asks a
database. ``none_failed`` lets the chosen step run although the steps before it were skipped.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowSkipException

ALL = "all"


def only_step(*task_ids: str) -> Param:
    """A choice between all steps and one of these."""
    return Param(
        ALL,
        type="string",
        enum=[ALL, *task_ids],
        title="Only this step",
        description="Run one step alone; the others are skipped and take no lock.",
    )


def skip_unless_chosen(context: Any) -> None:
    """Skip the task if another step was chosen in the trigger form."""
    chosen = context["params"].get("only_step", ALL)
    if chosen not in (ALL, context["ti"].task_id):
        raise AirflowSkipException(f"only the step {chosen!r} was asked for")


STEP_DEFAULTS: dict[str, Any] = {"pre_execute": skip_unless_chosen, "trigger_rule": "none_failed"}
