"""The door that most people use: `LockedOperator`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.operators.locked import locked, with_lock
from airflow_lockprovider.operators.wanted import LockLike

if TYPE_CHECKING:
    from airflow.sdk import DAG, TaskGroup
    from airflow.sdk.definitions.mappedoperator import OperatorPartial

Task = TypeVar("Task")
Made = TypeVar("Made")


class LockedOperator(Generic[Made]):
    """Any operator, with a lock.

    ::

        LockedOperator(task_id="load", operator=GlueJobOperator, lock="dwh.sales", job_name="load")
        LockedOperator[GlueJobOperator].partial(task_id="load", lock="dwh.sales").expand(job_name=[...])
        LockedOperator(operator=existing_task, lock="dwh.sales")

    The result is a task of the wrapped operator's own type, with the same fields, links and retries.

    :param operator: an operator class, or a task
    :param lock: a name, a `Lock`, a mapping such as ``{"lock_duration": "10 mins"}``, or a list of these; names are
        templated
    """

    # The signatures are for editors and type checkers: what every operator takes is named, what one takes is not known.
    @overload
    def __new__(  # type: ignore[misc]  # what it makes is a task, on purpose
        cls,
        *,
        operator: type[Task],
        lock: LockLike | None,
        task_id: str,
        retries: int | None = ...,
        retry_delay: timedelta | float = ...,
        execution_timeout: timedelta | None = ...,
        trigger_rule: str = ...,
        pool: str | None = ...,
        pool_slots: int = ...,
        priority_weight: int = ...,
        queue: str = ...,
        depends_on_past: bool = ...,
        max_active_tis_per_dag: int | None = ...,
        start_date: datetime | None = ...,
        end_date: datetime | None = ...,
        on_failure_callback: Any = ...,
        on_success_callback: Any = ...,
        on_retry_callback: Any = ...,
        inlets: Any = ...,
        outlets: Any = ...,
        params: Mapping[str, Any] | None = ...,
        default_args: dict[str, Any] | None = ...,
        do_xcom_push: bool = ...,
        owner: str = ...,
        dag: DAG | None = ...,
        task_group: TaskGroup | None = ...,
        doc_md: str | None = ...,
        **kwargs: Any,
    ) -> Task: ...
    @overload
    def __new__(cls, *, operator: Task, lock: LockLike | None) -> Task: ...  # type: ignore[misc]
    @overload
    def __new__(  # type: ignore[misc]
        cls,
        *,
        operator: None = ...,  # it stands in the brackets: LockedOperator[GlueJobOperator](…)
        lock: LockLike | None = ...,  # may come from default_args
        task_id: str,
        retries: int | None = ...,
        retry_delay: timedelta | float = ...,
        execution_timeout: timedelta | None = ...,
        trigger_rule: str = ...,
        pool: str | None = ...,
        **kwargs: Any,
    ) -> Made: ...
    def __new__(cls, *, operator: Any = None, **kwargs: Any) -> Any:
        if operator is None:
            raise TypeError("missing keyword argument 'operator': an operator class, such as GlueJobOperator")
        if isinstance(operator, type):
            make: Any = locked(operator)
            return make(**kwargs)
        if "lock" not in kwargs:
            raise TypeError("missing keyword argument 'lock'")
        lock = kwargs.pop("lock")
        if kwargs:
            raise ConfigurationError(
                f"LockedOperator(operator=<task>) takes no {', '.join(map(repr, kwargs))}: give them to the task itself"
            )
        return with_lock(operator, lock)

    if TYPE_CHECKING:

        @classmethod
        def partial(
            cls,
            *,
            task_id: str,
            lock: LockLike | None = ...,
            retries: int | None = ...,
            retry_delay: timedelta | float = ...,
            execution_timeout: timedelta | None = ...,
            trigger_rule: str = ...,
            pool: str = ...,
            max_active_tis_per_dag: int | None = ...,
            outlets: Collection[Any] | None = ...,
            **kwargs: Any,
        ) -> OperatorPartial: ...

    else:

        def __class_getitem__(cls, operator: type) -> Any:
            return locked(operator)
