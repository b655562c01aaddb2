"""DAG files and rules, loaded as Airflow's DAG processor and workers load them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def load(folder: Path, files: Mapping[str, str]) -> Any:
    """A bag with these DAG files."""
    from airflow.dag_processing.dagbag import BundleDagBag

    dags = folder / "dags"
    dags.mkdir(exist_ok=True)
    for name, text in files.items():
        (dags / name).write_text(text, encoding="utf-8")
    return BundleDagBag(dag_folder=dags, bundle_path=dags, bundle_name="dags-folder")


def locks(bag: Any) -> dict[str, Any]:
    """``dag.task`` → names of its locks, for all tasks that have any."""
    from airflow_lockprovider.policies.applying import own_lock

    found = {f"{dag.dag_id}.{task.task_id}": own_lock(task) for dag in bag.dags.values() for task in dag.tasks}
    return {name: wanted.names for name, wanted in found.items() if wanted}


def serialised(bag: Any) -> dict[str, Any]:
    from airflow.serialization.serialized_objects import DagSerialization

    return {dag_id: json.loads(json.dumps(DagSerialization.to_dict(dag))) for dag_id, dag in bag.dags.items()}
