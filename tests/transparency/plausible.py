"""Every operator and sensor class of the installed providers, and arguments with which it can be made."""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

PROVIDERS = ("standard", "common.sql", "postgres", "amazon")
PLACES = ("operators", "sensors", "transfers", "decorators")
TIME = datetime(2026, 1, 31, tzinfo=UTC)


def function() -> str:
    """What a TaskFlow function may be."""
    return "true"


def nothing() -> None: ...


# What a parameter of this name takes, whatever its type.
BY_NAME: dict[str, Any] = {
    "python_callable": function,
    "callable": function,
    "checks": {"rows": {"check_statement": "count(*) > 0"}},
    "column_mapping": {"id": {"null_check": {"equal_to": 0}}},
    "metrics_thresholds": {"count(*)": 1.5},
    "target_time": TIME.isoformat(),
    "delta": timedelta(hours=1),
    "target_date": TIME,
    "week_day": "Monday",
    "external_dag_id": "other",
    "options": ["yes", "no"],
    "subject": "Go on?",
    "body": "Please",
    "follow_task_ids_if_true": "a",
    "follow_task_ids_if_false": "b",
    "target_lower": TIME,
    "target_upper": TIME,
    "sql": "select 1",
    "pass_value": "1",
    "table": "sales",
    "requirements": [],
    "python": "/usr/bin/python3",
    "config": {"a": "b"},
    "tags": [{"Key": "a", "Value": "b"}],
    "source_bucket_key": "s3://a/b",
    "dest_bucket_key": "s3://a/c",
    "source_bucket_name": None,
    "conf": {},
    "bucket_key": "s3://bucket/key",
    "start_from_trigger": False,
    "poke_interval": 60,
    "timeout": 600,
    "steps": [],
    "datasource": {"a": "b"},
    "datasource_configs": [],
    "op_args": [],
    "op_kwargs": {},
    "db_type": "instance",
    "source_type": "EXTERNAL_SOURCES",
    "target_state": "running",
    "time_to_wait": timedelta(minutes=1),
    "target_time_of_day": TIME.time(),
}
# What only this class needs.
BY_CLASS: dict[str, dict[str, Any]] = {
    "EmrAddStepsOperator": {"job_flow_id": "a"},
    "S3DeleteObjectsOperator": {"keys": ["a"]},
    "SageMakerConditionOperator": {"condition_type": "Equals", "left_value": 1, "right_value": 1},
    "OpenSearchServerlessCollectionActiveSensor": {"collection_id": "a"},
    "EmrStartNotebookExecutionOperator": {"notebook_execution_name": "a"},  # else a new one every time
    "GlueCrawlerOperator": {"config": {"Name": "a"}},
    "TimeSensor": {"target_time": TIME.time()},
    "TimeSensorAsync": {"target_time": TIME.time()},
    "_StubOperator": {"python_callable": nothing},
}
BY_TYPE: tuple[tuple[str, Any], ...] = (
    ("timedelta", timedelta(minutes=1)),
    ("datetime", TIME),
    ("Callable", function),
    ("dict", {"a": "b"}),
    ("Mapping", {"a": "b"}),
    ("list", ["a"]),
    ("Sequence", ["a"]),
    ("Iterable", ["a"]),
    ("Collection", ["a"]),
    ("set", {"a"}),
    ("bool", False),
    ("int", 1),
    ("float", 1.5),
    ("str", "a"),
)


def operator_classes() -> Iterator[type]:
    """All of them, as they are defined, without those that Airflow itself calls private or abstract bases."""
    from airflow.sdk import BaseOperator

    for provider in PROVIDERS:
        for module in _modules(f"airflow.providers.{provider}"):
            for value in vars(module).values():
                ours = (
                    inspect.isclass(value) and issubclass(value, BaseOperator) and value.__module__ == module.__name__
                )
                if ours and not inspect.isabstract(value):
                    yield value


def not_imported() -> dict[str, str]:
    """Modules that need a package which is not installed → which."""
    list(operator_classes())
    return dict(_missing)


_missing: dict[str, str] = {}


def _modules(package: str) -> Iterator[Any]:
    root = import_module(package)
    for found in pkgutil.walk_packages(root.__path__, f"{package}.", onerror=lambda name: None):
        if any(part in PLACES for part in found.name.removeprefix(package).split(".")):
            try:
                yield import_module(found.name)
            except Exception as error:  # an optional package: its operators cannot be used here
                _missing[found.name] = str(error).splitlines()[0]


def arguments(cls: Any) -> dict[str, Any]:
    """Arguments with which a task of this class can be made: what it says that it misses, until it misses nothing."""
    from airflow.sdk import DAG

    given = dict(BY_CLASS.get(cls.__name__, {}))
    for _ in range(5):
        try:
            with DAG("a_dag", schedule=None):
                cls(task_id="task", **given)
            break
        except TypeError as error:
            missing = [name for name in re.findall(r"'(\w+)'", str(error)) if name not in given]
            if not str(error).startswith("missing keyword argument") or not missing:
                break  # told by whoever makes the task next
            given |= {name: _value(name, _annotation(cls, name)) for name in missing}
        except Exception:
            break
    return given


def _annotation(cls: type, name: str) -> str:
    for klass in cls.__mro__:
        parameters = inspect.signature(klass.__dict__["__init__"]).parameters if "__init__" in vars(klass) else {}
        if name in parameters:
            return str(parameters[name].annotation)
    return "str"


def _value(name: str, annotation: str) -> Any:
    if name in BY_NAME:
        return BY_NAME[name]
    for word, value in BY_TYPE:
        if word in annotation:
            return value
    return "a"


def first_mappable(given: Mapping[str, Any]) -> str | None:
    """An argument that a mapped task can be expanded over."""
    return next((name for name, value in given.items() if isinstance(value, str)), None)
