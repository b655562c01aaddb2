"""A rule: which tasks it is about, and their lock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from airflow_lockprovider.compat import BaseOperator

LockValue = str | Mapping[str, Any]
"""A lock as it stands in the file."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What rules look at."""

    dag: str
    task: str
    operator: frozenset[str]
    """Names of the class and its bases, short and with their module, and of the decorator (``@task.bash``)."""
    outlet: frozenset[str]
    """URIs and names of the declared outlets."""

    @classmethod
    def of(cls, task: Any) -> Traits:
        """Read an operator or a mapped operator."""
        return cls(
            dag=task.dag_id,
            task=task.task_id,
            operator=_names(operator_class(task)),
            outlet=frozenset(_outlet_names(task.outlets)),
        )


@dataclass(frozen=True, slots=True)
class Pattern:
    """Globs. Within a field one of them has to match, and all fields that are given have to."""

    dag: tuple[str, ...] = ()
    task: tuple[str, ...] = ()
    operator: tuple[str, ...] = ()
    outlet: tuple[str, ...] = ()

    def fits(self, traits: Traits) -> bool:
        return (
            _one_of((traits.dag,), self.dag)
            and _one_of((traits.task,), self.task)
            and _one_of(traits.operator, self.operator)
            and _one_of(traits.outlet, self.outlet)
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """Tasks that fit ``match`` and not ``exempt`` hold ``locks`` while they run."""

    match: Pattern
    exempt: Pattern | None
    locks: tuple[LockValue, ...]
    file: str
    line: int
    """Where it stands, for people."""

    @property
    def place(self) -> str:
        return f"{self.file}, line {self.line}"

    def fits(self, traits: Traits) -> bool:
        return self.match.fits(traits) and not (self.exempt and self.exempt.fits(traits))


FIELDS = tuple(Pattern.__dataclass_fields__)


def operator_class(task: Any) -> Any:
    """The class of an operator, or the one that a mapped operator will make."""
    return task.operator_class if task.is_mapped else type(task)


def _one_of(texts: Iterable[str], globs: tuple[str, ...]) -> bool:
    return not globs or any(fnmatchcase(text, glob) for text in texts for glob in globs)


@cache
def _names(operator: Any) -> frozenset[str]:
    found = set()
    for cls in operator.__mro__:
        if issubclass(cls, BaseOperator):
            found |= {cls.__name__, f"{cls.__module__}.{cls.__qualname__}"}
            if isinstance(shown := cls.__dict__.get("custom_operator_name"), str):
                found.add(shown)
    return frozenset(found)


def _outlet_names(outlets: Iterable[Any]) -> Iterable[str]:
    for outlet in outlets:
        values = (outlet, getattr(outlet, "uri", None), getattr(outlet, "name", None))
        yield from (value for value in values if isinstance(value, str))
