"""A task with and without a lock, as the scheduler, the API server and people see it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow_lockprovider import LockedOperator, with_lock
from airflow_lockprovider.exceptions import ConfigurationError
from tests.transparency.plausible import arguments, first_mappable, operator_classes

SIGN = " \N{LOCK}"
DOORS = ("LockedOperator", "with_lock", "mapped", "with_lock on mapped")


@dataclass(frozen=True)
class Finding:
    """What became of one class."""

    cls: type
    outcome: str
    """``same``, ``refused``, ``different`` or ``not built``."""
    words: str = ""

    def __str__(self) -> str:
        name = f"{self.cls.__module__.removeprefix('airflow.providers.')}.{self.cls.__name__}"
        return f"{self.outcome:9} {name}" + (f": {self.words}" if self.words else "")


def look_at_all() -> list[Finding]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations of their own
        return [look_at(cls) for cls in operator_classes()]


def look_at(cls: Any) -> Finding:
    given = arguments(cls)
    try:
        bare = _seen(lambda: cls(task_id="task", **given))
    except Exception as error:
        return Finding(cls, "not built", f"{type(error).__name__}: {' '.join(str(error).split())[:150]}")
    differences = []
    for door, make in _doors(cls, given):
        try:
            plain = bare if not door.endswith("mapped") else _seen(lambda: _mapped(cls, given))
        except Exception:
            continue  # a class that cannot be mapped cannot be mapped with a lock either
        try:
            wrapped = _seen(make)
        except ConfigurationError as error:
            return Finding(cls, "refused", str(error))
        if told := _differences(plain, wrapped):
            differences.append(f"{door}: {told}")
    return Finding(cls, "different", "; ".join(differences)) if differences else Finding(cls, "same")


def _doors(cls: Any, given: dict[str, Any]) -> list[tuple[str, Callable[[], Any]]]:
    doors: list[tuple[str, Callable[[], Any]]] = [
        (DOORS[0], lambda: LockedOperator(task_id="task", operator=cls, lock="x", **given)),
        (DOORS[1], lambda: with_lock(cls(task_id="task", **given), "x")),
    ]
    if first_mappable(given):
        doors += [
            (DOORS[2], lambda: _mapped(LockedOperator[cls], given, lock="x")),
            (DOORS[3], lambda: with_lock(_mapped(cls, given), "x")),
        ]
    return doors


def _mapped(cls: Any, given: dict[str, Any], **more: Any) -> Any:
    over = first_mappable(given)
    assert over is not None
    fixed = {name: value for name, value in given.items() if name != over}
    return cls.partial(task_id="task", **fixed, **more).expand(**{over: ["a", "b"]})


def _seen(make: Callable[[], Any]) -> dict[str, Any]:
    from airflow.sdk import DAG
    from airflow.serialization.serialized_objects import DagSerialization

    with DAG("a_dag", schedule=None) as dag:
        task = make()
    (encoded,) = json.loads(json.dumps(DagSerialization.to_dict(dag)))["dag"]["tasks"]
    cls = task.operator_class if task.is_mapped else type(task)
    return {
        **encoded["__var"],
        "in Python: name": (cls.__module__, cls.__name__, cls.__doc__),
        "in Python: template_ext": list(task.template_ext),
        "in Python: renderers": dict(cls.template_fields_renderers),
        "in Python: links": [link.name for link in task.operator_extra_links],
        "in Python: kinds": (task.inherits_from_empty_operator, task.inherits_from_skipmixin),
    }


def _differences(bare: dict[str, Any], wrapped: dict[str, Any]) -> str:
    """What is not alike, but for the lock."""
    bare, wrapped = dict(bare), dict(wrapped)
    wrapped.pop("lock_name", None)
    if "partial_kwargs" in wrapped:
        wrapped["partial_kwargs"] = {k: v for k, v in wrapped["partial_kwargs"].items() if k != "lock"}
    fields = wrapped["template_fields"]
    if "lock_name" in fields:
        wrapped["template_fields"] = [field for field in fields if field != "lock_name"]
    for links, lock in (("_operator_extra_links", {"Lock": "_link_LockLink"}), ("in Python: links", ["Lock"])):
        if isinstance(lock, dict):
            wrapped[links] = {name: key for name, key in wrapped.get(links, {}).items() if name not in lock}
            bare.setdefault(links, {})
        else:
            wrapped[links] = [name for name in wrapped[links] if name not in lock]
    shown = wrapped.pop("_operator_name", bare["task_type"])
    if shown != f"{bare.pop('_operator_name', bare['task_type'])}{SIGN}":
        return f"its name is {shown!r}"
    names = sorted(name for name in bare.keys() | wrapped.keys() if bare.get(name) != wrapped.get(name))
    return ", ".join(f"{name} is {wrapped.get(name)!r}, was {bare.get(name)!r}" for name in names)
