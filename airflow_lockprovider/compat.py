"""The only module that knows where a name lives in which Airflow version."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowOptionalProviderFeatureException,
    AirflowSkipException,
    BaseHook,
    BaseNotifier,
    BaseOperator,
    BaseOperatorLink,
    BaseSensorOperator,
    Context,
    RetryDecision,
    RetryPolicy,
    TaskDeferred,
    conf,
    redact,
)
from airflow.sdk.bases.decorator import is_decorated_task, task_decorator_factory
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, BaseOperatorMeta
from airflow.sdk.definitions._internal.decorators import remove_task_decorator
from airflow.sdk.definitions.connection import Connection
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.definitions.taskgroup import TaskGroup
from airflow.sdk.definitions.xcom_arg import XComArg
from airflow.sdk.exceptions import AirflowRescheduleException, AirflowTaskTimeout, TaskAwaitingInput
from airflow.sdk.module_loading import import_string  # type: ignore[attr-defined]
from airflow.serialization.decoders import smart_decode_trigger_kwargs

__all__ = [
    "KNOWS_RUN_MODELS",
    "TRIGGER_FAIL_REPR",
    "AirflowException",
    "AirflowFailException",
    "AirflowOptionalProviderFeatureException",
    "AirflowRescheduleException",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "BaseHook",
    "BaseNotifier",
    "BaseOperator",
    "BaseOperatorLink",
    "BaseOperatorMeta",
    "BaseSensorOperator",
    "Connection",
    "Context",
    "MappedOperator",
    "RetryDecision",
    "RetryPolicy",
    "TaskAwaitingInput",
    "TaskDeferred",
    "TaskGroup",
    "XComArg",
    "airflow_version",
    "conf",
    "import_string",
    "is_decorated_task",
    "redact",
    "remove_task_decorator",
    "smart_decode_trigger_kwargs",
    "task_decorator_factory",
]


def airflow_version() -> str:
    """The version of the Airflow that is installed."""
    from airflow import __version__

    return str(__version__)


KNOWS_RUN_MODELS = airflow_version().split(".")[:2] == ["3", "3"]
"""Whether web/run_alone.py was made for the database models of this Airflow."""
