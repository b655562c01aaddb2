"""``airflow locks rules``: which rule locks which task."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_lockprovider.cli.environment import variable
from airflow_lockprovider.cli.output import print_rows
from airflow_lockprovider.desk.cells import Row
from airflow_lockprovider.desk.verbs import Refusal

if TYPE_CHECKING:
    from airflow_lockprovider.policies.rule import Rule

_OPTION = "AIRFLOW__LOCKPROVIDER__RULES"
_COLUMNS = ("line", "dag_id", "task_id", "operator", "locks")


def show_rules(args: Namespace) -> None:
    """Load all DAGs with the rules of the configuration, or of another file, and print what fits.

    Rules that fit nothing, and DAGs that cannot be loaded, are told on stderr; the latter make exit code 1.
    """
    from airflow_lockprovider import config
    from airflow_lockprovider.policies.rule_file import read_rules

    with _rules_from(args.file):
        path = config.rules_file()
        if path is None:
            raise Refusal("there are no rules: set rules in section lockprovider, or say --file")
        rules = read_rules(path)
        dags, errors = _load(args)
    dags = [dag for dag in dags if args.dag_id in (None, dag.dag_id)]
    rows = list(_rows(dags, rules))
    print_rows(rows, args.output, _COLUMNS)
    fitting = {row["line"] for row in rows}
    for rule in rules:
        if rule.line not in fitting:
            print(f"the rule in line {rule.line} fits no task", file=sys.stderr)
    for file, error in errors.items():
        print(f"{file}: {error}", file=sys.stderr)
    if errors:
        raise SystemExit(1)


def _rows(dags: Iterable[Any], rules: Iterable[Rule]) -> Iterator[Row]:
    from airflow_lockprovider.policies.applying import matching, own_lock

    for dag in sorted(dags, key=lambda dag: str(dag.dag_id)):
        for task in dag.tasks:
            for rule in matching(task, rules):
                wanted = own_lock(task)
                yield {
                    "line": rule.line,
                    "dag_id": dag.dag_id,
                    "task_id": task.task_id,
                    "operator": task.task_type,
                    "locks": ", ".join(wanted.names) if wanted else "",
                }


def _load(args: Namespace) -> tuple[list[Any], dict[str, str]]:
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag
    from airflow.utils.cli import suppress_logs_and_warning

    dags: list[Any] = []
    errors: dict[str, str] = {}

    @suppress_logs_and_warning
    def load(args: Namespace) -> None:
        for bundle in DagBundlesManager().get_all_dag_bundles():
            bundle.initialize()
            bag = BundleDagBag(bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
            dags.extend(bag.dags.values())
            errors.update({f"{bundle.name}: {file}": error for file, error in bag.import_errors.items()})

    load(args)
    return dags, errors


def _rules_from(file: str | None) -> AbstractContextManager[None]:
    """Take the rules from another file, to try it before all processes have it."""
    return variable(_OPTION, str(Path(file).expanduser().absolute())) if file else nullcontext()
