"""The cluster policy that Airflow finds by the entry point group ``airflow.policy``.

Every Airflow process imports this module at its start, so it imports nothing but the marker.
"""

from __future__ import annotations

from typing import Any

from airflow.policies import hookimpl  # not from compat, which would load the whole SDK


@hookimpl(trylast=True)  # after the policies of others, which may change what a rule matches
def task_policy(task: Any) -> None:
    """Give the task the locks of the rule file, and of its ``default_args``. In DAG processor and worker alike."""
    from airflow_lockprovider.operators.default_lock import NO_DEFAULT, default_lock
    from airflow_lockprovider.policies.in_force import rules_in_force

    rules = rules_in_force.for_dag(task.dag)
    if rules or default_lock(task) is not NO_DEFAULT:
        from airflow_lockprovider.policies.applying import apply_rules

        apply_rules(task, rules)
