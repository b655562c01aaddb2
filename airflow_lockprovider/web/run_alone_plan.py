"""Which tasks of a DAG work, and as what the others count, when one task is run alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_BEFORE = {"all_failed": "failed", "one_failed": "failed", "all_skipped": "skipped"}
"""Trigger rule of the task → what stands directly before it has to look like this. Else: success."""


@dataclass(frozen=True)
class Plan:
    """One task alone, with the setups that it needs and their teardowns."""

    task_id: str
    helpers: frozenset[str]
    """Setups and teardowns that work, too: without them the task could not."""
    others: Mapping[str, str]
    """Task id → state, of all the tasks that do not work."""

    @property
    def working(self) -> frozenset[str]:
        """Ids of the tasks that work."""
        return self.helpers | {self.task_id}


def plan_for(dag: Any, task_id: str) -> Plan:
    """Let one task of a (serialized) DAG work: what comes before it counts as done, all else as skipped.

    Airflow's own "clear" takes the same setups and teardowns along. A setup alone brings its teardowns: what it builds
    should not stay. A task that waits for a failure finds one before it.
    """
    task = dag.get_task(task_id)
    helpers = {each.task_id for each in task.get_upstreams_only_setups_and_teardowns()}
    if task.is_setup:
        helpers |= {each.task_id for each in task.downstream_list if each.is_teardown}
    helpers.discard(task_id)
    before = task.get_flat_relative_ids(upstream=True)
    for helper in helpers:
        if dag.get_task(helper).is_setup:
            before |= dag.get_task(helper).get_flat_relative_ids(upstream=True)
    others = {
        other: "success" if other in before else "skipped"
        for other in dag.task_dict
        if other not in {task_id, *helpers}
    }
    rule = getattr(task.trigger_rule, "value", str(task.trigger_rule))
    for other in task.upstream_task_ids & others.keys():
        others[other] = _BEFORE.get(rule, "success")
    return Plan(task_id, frozenset(helpers), others)
