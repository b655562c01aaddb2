"""The Redshift step of both regions."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from airflow.providers.amazon.aws.operators.redshift_data import RedshiftDataOperator

from airflow_lockprovider import LockedOperator
from flights_steps.places import LOCK, Place


def load_under_lock(place: Place, script: Sequence[str]) -> Any:
    """The task ``load``: ``script`` as one transaction in the warehouse of ``place``, under the lock of all loads."""
    return LockedOperator(
        task_id="load",
        operator=RedshiftDataOperator,
        lock=LOCK,
        aws_conn_id=place.aws_conn_id,
        cluster_identifier=place.cluster,
        database="dwh",
        db_user="airflow",
        sql=list(script),
        poll_interval=1,
        deferrable=can_defer(),
        durable=False,  # a retry must not pick up the statement of the try before: that one has an older token
    )


def can_defer() -> bool:
    """Whether the amazon provider's operators can wait in the triggerer here.

    Their own triggers need aiobotocore (our sensors do not). It pins botocore to few versions, so it is not among our
    dependencies: ``pip install aiobotocore`` adds it. Without it the operator waits on its worker, under the same lock.
    """
    return find_spec("aiobotocore") is not None
