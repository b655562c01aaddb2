"""How a class, or a task that is already there, gets its lock: `locked` and `with_lock`."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_lockprovider.compat import BaseOperator, MappedOperator, XComArg
from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.operators.construct import constructor
from airflow_lockprovider.operators.link import LockLink
from airflow_lockprovider.operators.mixin import LockedMixin
from airflow_lockprovider.operators.refusal import refuse_class, refuse_mapped, refuse_task
from airflow_lockprovider.operators.source import without_lock_decorator
from airflow_lockprovider.operators.wanted import LockLike, Wanted

if TYPE_CHECKING:
    from airflow_lockprovider.operators.door import LockedOperator

Task = TypeVar("Task")


def locked(base: type[Task]) -> type[LockedOperator[Task]]:
    """The class ``base`` with a lock: takes all its arguments, and ``lock``.

    It keeps the name and module of ``base``, so that the UI, plugin links and metrics go on as before. The same
    class is returned every time. Raises ConfigurationError for classes that cannot be locked.
    """
    cls: Any = base
    made: type[LockedOperator[Task]] = _locked(cls)  # that is what it is to a type checker
    return made


@cache
def _locked(base: Any) -> Any:
    if not (isinstance(base, type) and issubclass(base, BaseOperator)):
        raise ConfigurationError(f"{base!r} is no operator class")
    if issubclass(base, LockedMixin):
        return base
    refuse_class(base)
    fields = base.template_fields
    name = getattr(base, "custom_operator_name", base.__name__)
    namespace = {
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
        "template_fields": (*((fields,) if isinstance(fields, str) else fields), "lock_name"),
        "operator_extra_links": _links(base.operator_extra_links),
        "custom_operator_name": f"{name} \N{LOCK}",
    }
    metaclass: Any = type(base)
    made = _mixin_first(metaclass)(base.__name__, (base, LockedMixin), namespace)

    made.__init__ = constructor(base)

    def partial(cls: Any, /, **kwargs: Any) -> Any:
        if "lock" in kwargs:  # here, so that a mistake is an import error; a mapped task is made in the worker
            check_lock(kwargs["lock"])
        return super(made, cls).partial(**kwargs)

    made.partial = classmethod(partial)
    if hasattr(base, "get_python_source"):
        made.get_python_source = lambda self: without_lock_decorator(super(made, self), self.python_callable, name)
    return made


@cache
def _mixin_first(metaclass: Any) -> Any:
    """A metaclass for classes with the bases ``(operator, LockedMixin)`` where methods of the mixin come first.

    With the bases the other way round the class would not be laid out in memory as the operator's own, and Python
    would not let a task change to it, if the operator has a mixin of its own (GlueJobOperator).
    """

    def mro(cls: Any) -> list[type]:
        order = [one for one in metaclass.mro(cls) if one is not LockedMixin]
        place = next(number for number, one in enumerate(order) if not isinstance(one, made))
        return [*order[:place], LockedMixin, *order[place:]]

    made = type(metaclass.__name__, (metaclass,), {"mro": mro, "__module__": metaclass.__module__})
    return made


def _links(links: Any) -> Any:
    """The links of a class and ours. A few classes have them as a property."""
    if isinstance(links, property):
        return property(lambda self: (*links.__get__(self), LockLink()))
    return (*links, LockLink())


def check_lock(lock: LockLike | None) -> None:
    """Raise ConfigurationError if a task could not be declared with this lock, whatever the task."""
    Wanted.of(lock, default_name="dag.task")


def with_lock(task: Task, lock: LockLike | None) -> Task:
    """Put a lock on an existing task: an operator, a mapped operator, or what a TaskFlow call returned. In place.

    With ``lock=None`` the task goes without, also where ``default_args`` have a lock.
    """
    if isinstance(task, XComArg):
        if not isinstance(operator := getattr(task, "operator", None), BaseOperator | MappedOperator):
            raise ConfigurationError(f"{task!r} is derived from the results of tasks: put the lock on the task itself")
        with_lock(operator, lock)
        return task
    cls: Any = task.operator_class if isinstance(task, MappedOperator) else type(task)
    if not isinstance(task, BaseOperator | MappedOperator):
        raise ConfigurationError(f"{task!r} is no task, so it cannot be locked" + _instead(task))
    if issubclass(cls, LockedMixin):
        raise ConfigurationError(f"task {task.task_id!r} has a lock already: {_declared(task)!r}")
    relock(task, lock)
    return task


def relock(task: Any, lock: LockLike | None) -> None:
    """As `with_lock` for an operator or mapped operator, but in the place of the locks that it may have."""
    if isinstance(task, MappedOperator):
        check_lock(lock)
        cls: Any = _locked(task.operator_class)
        refuse_mapped(task)
        task.operator_class = cls
        task.template_fields = cls.template_fields
        task.operator_extra_links = cls.operator_extra_links
        task._operator_name = cls.custom_operator_name
        task.partial_kwargs = {**task.partial_kwargs, "lock": lock}
        return
    if not isinstance(task, LockedMixin):
        check_lock(lock)
        refuse_task(task)
        _swap_class(task)
    task._declare_lock(lock)
    task._BaseOperator__init_kwargs["lock"] = lock


def _swap_class(task: Any) -> None:
    """The one place where a class is swapped.

    Nothing else gives a lock to an operator whose construction is not ours (a task of somebody else's factory, a
    cluster policy).
    """
    try:
        cls: Any = type(task)
        object.__setattr__(task, "__class__", _locked(cls))
    except TypeError as error:  # its memory is laid out in another way (__slots__, a class written in C)
        raise ConfigurationError(
            f"task {task.task_id!r} cannot be locked once it is there: {error}. "
            f"Use LockedOperator[{type(task).__name__}](…)"
        ) from error


def _declared(task: Any) -> Any:
    return task.partial_kwargs.get("lock") if isinstance(task, MappedOperator) else task.lock_name


def _instead(value: Any) -> str:
    kind = type(value).__name__
    if kind == "_TaskDecorator":
        return f": put @lock(…) above @task, or lock what {value.function.__name__}() returns"
    if kind == "OperatorPartial":
        return ": call .expand() first"
    if kind in ("TaskGroup", "DAG", "MappedTaskGroup"):
        return ": lock_scope(…) holds one lease over several tasks"
    return ""
