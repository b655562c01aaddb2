"""The three tasks of a scope: the first takes the lock, one keeps it in the triggerer, the last gives it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.triggers.base import StartTriggerArgs

from airflow_lockprovider.compat import BaseOperator, import_string
from airflow_lockprovider.operators.link import LockLink
from airflow_lockprovider.operators.mixin import LockedMixin

if TYPE_CHECKING:
    from airflow.sdk import Context

_COLOR = "#e8f0e4"
_KEEPER = "airflow_lockprovider.triggers.scope.KeepScopeTrigger"
"""By name: parsing a DAG must not load triggers and database drivers."""


class _Grant(BaseOperator):
    """Says what was granted; its lock does the rest."""

    def execute(self, context: Context) -> dict[str, Any]:
        granted: Any = context["lease"]  # type: ignore[typeddict-item]
        names = self.lock_name if isinstance(self.lock_name, list) else [self.lock_name]  # type: ignore[attr-defined]
        tokens = {lease.lock_name: lease.token for lease in granted.leases}
        return {"names": names, "tokens": tokens, "owner_id": granted.owner_id}


class AcquireScopeLock(LockedMixin, _Grant):
    """First task of a scope: waits for the lock as any locked task does, and leaves it taken.

    Returns the names, tokens and owner id of what was granted. Members trust none of it before the database has
    confirmed it.
    """

    lockprovider_own = True
    template_fields = ("lock_name",)
    operator_extra_links = (LockLink(),)
    ui_color = _COLOR
    _lock_outlives_task = True


class KeepScopeLock(BaseOperator):
    """Beside the members: renews the lease in the triggerer, with no worker slot, until the scope is over.

    :param acquire_id: task id of the first task
    :param release_id: task id of the last task
    :param members: task ids between them
    :param lease_conn_id: connection of the database with the locks
    """

    lockprovider_own = True
    ui_color = _COLOR

    def __init__(
        self, *, acquire_id: str, release_id: str, members: list[str], lease_conn_id: str | None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._arguments = {
            "acquire_id": acquire_id,
            "release_id": release_id,
            "members": members,
            "lease_conn_id": lease_conn_id,
        }
        # Mapped tasks do not start there: they come through execute(), and go on from a worker.
        self.start_from_trigger = True
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls=_KEEPER,
            next_method="go_on",
            trigger_kwargs=dict(self._arguments),
            next_kwargs={},
            timeout=None,
        )

    def execute(self, context: Context) -> None:
        if _is_dag_test():
            # It runs one task after another, triggers too: a keeper would wait for ever for the task after it.
            self.log.info("no keeper in dag.test(): the members renew the lease while they run")
            return
        trigger = import_string(_KEEPER)(**self._arguments, from_worker=True)
        self.defer(trigger=trigger, method_name="go_on")

    def go_on(self, context: Context, event: Any = None) -> None:
        """Airflow resumes a task now and then for no reason (#65248): the trigger itself ends this task."""
        self.execute(context)


class ReleaseScopeLock(BaseOperator):
    """Last task of a scope: gives the lock back, whatever became of the members.

    Fails (and is retried) if the database does not answer; the lease then ends by its ttl. A failed release does not
    fail the run.

    :param acquire_id: task id of the first task
    :param lease_conn_id: connection of the database with the locks
    """

    lockprovider_own = True
    ui_color = _COLOR

    def __init__(self, *, acquire_id: str, lease_conn_id: str | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.acquire_id, self.lease_conn_id = acquire_id, lease_conn_id

    def execute(self, context: Context) -> None:
        from airflow_lockprovider.hooks.lease import LeaseHook
        from airflow_lockprovider.triggers.scope_lease import scope_leases

        ti: Any = context["ti"]
        hook = LeaseHook(self.lease_conn_id)
        # In a mapped TaskGroup all three tasks of a scope have the same map index, else none has one.
        place = {"dag_id": ti.dag_id, "run_id": ti.run_id, "acquire_id": self.acquire_id, "map_index": ti.map_index}
        try:
            leases = scope_leases(hook, **place)
            for lease in leases:
                hook.release(lease)
                self.log.info("lock %r released: token %s", lease.lock_name, lease.token)
            if not leases:
                self.log.warning("the lease of %s was already gone", self.acquire_id)
        finally:
            hook.close()


class ScopeMemberEnded(EmptyOperator):
    """Is done, one way or the other, when the branch before it is. Never run."""

    lockprovider_own = True
    ui_color = _COLOR


def _is_dag_test() -> bool:
    from airflow.sdk.execution_time import task_runner

    return type(getattr(task_runner, "SUPERVISOR_COMMS", None)).__name__ == "InProcessSupervisorComms"
