"""The lock around any operator. There is this one implementation; all doors lead here."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_lockprovider import config
from airflow_lockprovider.compat import (
    TRIGGER_FAIL_REPR,
    AirflowRescheduleException,
    AirflowTaskTimeout,
    BaseOperatorMeta,
    TaskAwaitingInput,
    TaskDeferred,
)
from airflow_lockprovider.lease.errors import ConfigurationError, LeaseLost, LockProviderError
from airflow_lockprovider.operators.abort import TaskAborted, aborting_on_sigterm
from airflow_lockprovider.operators.body_clock import BodyClock
from airflow_lockprovider.operators.lease_template import LeaseTemplate
from airflow_lockprovider.operators.refusal import refuse_task
from airflow_lockprovider.operators.wanted import LockLike, Wanted
from airflow_lockprovider.triggers.envelope import Envelope

# What only a running task needs (database, triggers, threads) is imported by the methods that use it: a DAG file with
# locks should be parsed as fast as one without.
if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_lockprovider.lease.keeper import Keeper
    from airflow_lockprovider.lease.lease_set import LeaseSet
    from airflow_lockprovider.lease.model import Lease
    from airflow_lockprovider.operators.attempt import Attempt

    class _Base:
        """What the class on the right of the mixin gives, for type checkers only."""

        log: Any
        task_id: str
        dag_id: str
        execution_timeout: timedelta | None
        overwrite_rtif_after_execution: bool

        def __init__(self, **kwargs: Any) -> None: ...
        def execute(self, context: Context) -> Any: ...
        def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any: ...
        def on_kill(self) -> None: ...
        def _do_render_template_fields(
            self, parent: Any, template_fields: Iterable[str], context: Context, jinja_env: Any, seen_oids: set[int]
        ) -> None: ...
else:
    _Base = object


__all__ = ["LockLike", "LockedMixin"]

_MISSING: Any = object()


class LockedMixin(_Base):
    """Stands left of any operator class (see `locked`). No BaseOperator itself, as Airflow's ResumableJobMixin.

    :param lock: a name, a `Lock`, or a mapping such as ``{"lock_status": "enable", "lock_duration": "10 mins"}``; or a
        list of these: all of them are taken together, or none. Names are templated
    """

    _lock: Wanted | None
    lock_name: str | list[str] | None
    lock_holder: Lease | None = None
    """Who was last seen to hold the lock: this task, or the one it waits for."""
    _lock_killed = False
    _lock_stopped = False
    _lock_renders_again: dict[str, Any] = {}
    _lock_rendering: tuple[Context, Any] | None = None
    _lock_outlives_task = False
    """Whether the lease stays when the task has succeeded: somebody else gives it back (`lock_scope`)."""
    _lock_named_after_task = False
    """Whether ``lock`` may be left out; the lock is then called after the task."""

    @BaseOperatorMeta._apply_defaults  # type: ignore[type-var]
    def __init__(self, *, lock: LockLike | None = _MISSING, **kwargs: Any) -> None:
        if lock is _MISSING:  # by now it would have come from default_args
            if not self._lock_named_after_task:
                raise TypeError("missing keyword argument 'lock'")
            lock = {}
        super().__init__(**kwargs)
        self._declare_lock(lock)

    def _declare_lock(self, lock: LockLike | None) -> None:
        """Check and keep the lock: when the DAG is parsed, so that a mistake is an import error."""
        declared = Wanted.of(lock, default_name=f"{self.dag_id}.{self.task_id}")
        if declared is not None:
            refuse_task(self)
            for one in declared.locks:
                if one.ttl is not None:
                    config.lease_settings().renewal_period(float(one.ttl))  # type: ignore[arg-type]
        name = None if declared is None else declared.names if declared.several else declared.names[0]
        # Not one by one: Airflow looks closely at every attribute of a task that is set, and thousands are parsed.
        vars(self).update(_lock=declared, lock_name=name)

    # What the task runner calls

    def execute(self, context: Context) -> Any:
        if self._lock is None:
            return super().execute(context)
        with self._leg(self._lock, context) as attempt:
            return self._first(attempt, "execute", {}, context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        kwargs = dict(next_kwargs or {})
        if self._lock is None:
            return super().resume_execution(next_method, kwargs, context)
        with self._leg(self._lock, context) as attempt:
            word = Envelope.read(kwargs.get("event"))
            if word is None:
                return self._resume_without_word(attempt, next_method, kwargs, context)
            return self._resume(attempt, word, next_method, kwargs, context)

    def on_kill(self) -> None:
        self._lock_killed = True
        if not self._lock_stopped:
            super().on_kill()

    # Legs

    @contextmanager
    def _leg(self, wanted: Wanted, context: Context) -> Iterator[Attempt]:
        """One leg of the task. execution_timeout stands still but for the body, and a SIGTERM ends the waiting, too."""
        attempt = self._attempt(wanted, context)
        self._lock_clock = BodyClock(self.execution_timeout)
        with self._lock_clock.stopped(), aborting_on_sigterm():
            try:
                yield attempt
            except TaskAborted:
                attempt.abandon()
                raise

    def _resume(
        self, attempt: Attempt, word: Envelope, next_method: str, kwargs: dict[str, Any], context: Context
    ) -> Any:
        """One of our triggers has fired."""
        if word.phase == "timeout":
            attempt.give_up()
        if word.phase == "lost":
            attempt.abandon()  # of several locks, those that were not lost
            tokens = ", ".join(f"{name!r} (token {token})" for name, token in word.tokens.items())
            raise LeaseLost(
                f"the lease on {tokens} was lost while the task was deferred, its work was stopped: {word.reason}",
                lock_name=attempt.wanted.lock_name,
            )
        if word.phase == "kept":
            lease = attempt.take_up(word.tokens)
            return self._run(attempt, lease, next_method, {**kwargs, "event": word.event}, context, again=True)
        method, kwargs = word.method, dict(word.kwargs)
        if word.phase == "gone" or word.ticket is None:
            return self._first(attempt, method, kwargs, context)
        come_for = attempt.stand_by if word.phase == "standby" else attempt.confirm
        with self._seen(attempt):
            lease = come_for(word.ticket, method, kwargs)
        return self._run(attempt, lease, method, kwargs, context)

    def _first(self, attempt: Attempt, method: str, kwargs: dict[str, Any], context: Context) -> Any:
        with self._seen(attempt):
            lease = attempt.enter(method, kwargs)
        return self._run(attempt, lease, method, kwargs, context)

    def _resume_without_word(self, attempt: Attempt, method: str, kwargs: dict[str, Any], context: Context) -> Any:
        """A trigger failed or timed out, a parked task goes on, or Airflow resumed us for no reason (#65248)."""
        lease = attempt.held()
        if lease is not None:
            return self._run(attempt, lease, method, kwargs, context, again=True)
        if method == TRIGGER_FAIL_REPR:
            attempt.leave_line()
            return super().resume_execution(method, kwargs, context)
        if method != "execute" and (loss := attempt.end()) is not None:
            raise loss
        return self._first(attempt, method, kwargs, context)

    def _run(
        self,
        attempt: Attempt,
        lease: Lease | LeaseSet,
        method: str,
        kwargs: dict[str, Any],
        context: Context,
        *,
        again: bool = False,
    ) -> Any:
        """Run one leg of the wrapped operator under the lease, and give it back in every ending but a deferral."""
        from airflow_lockprovider.lease.interrupt import Interrupter
        from airflow_lockprovider.lease.keeper import Keeper

        self.lock_holder = lease.leases[0]
        handed_over = False
        try:
            attempt.tell(lease, again=again)
            self._render_with(lease)
            with _in_environment(lease), Interrupter() as interrupter:
                if self._lock_killed:
                    raise TaskAborted("the task was asked to stop before its work began")
                with Keeper(attempt.hook, lease, interrupter.interrupt) as keeper:
                    try:
                        with self._lock_clock.running():
                            result = self._call(method, kwargs, context)
                    except TaskDeferred as deferred:
                        self._hand_over(attempt, keeper, deferred)
                        handed_over = True
                        raise
                    except Exception as error:
                        if keeper.loss and not isinstance(error, LeaseLost):
                            raise keeper.loss from error  # the body has made something else of the interruption
                        raise
                if keeper.loss:
                    raise keeper.loss
            handed_over = self._lock_outlives_task
            return result
        except (TaskAwaitingInput, AirflowRescheduleException):
            raise  # parked where nobody could renew: given back, and taken again on the way in
        except (AirflowTaskTimeout, LeaseLost):
            self._stop_work()
            raise
        finally:
            if not handed_over:
                attempt.release(lease)

    def _call(self, method: str, kwargs: dict[str, Any], context: Context) -> Any:
        if method == "execute":
            return super().execute(context)
        return super().resume_execution(method, kwargs, context)

    def _hand_over(self, attempt: Attempt, keeper: Keeper[Lease | LeaseSet], deferred: TaskDeferred) -> None:
        """The wrapped operator defers itself: put our trigger around its own."""
        if keeper.loss:
            raise keeper.loss
        lease = keeper.lease
        try:
            lease = attempt.hook.renew(lease)  # the whole ttl for the way to the triggerer
        except LeaseLost:
            raise
        except LockProviderError as error:
            self.log.warning("renewing %s before the deferral failed, the triggerer will try: %s", lease, error)
        deferred.trigger = attempt.keeping(lease).around(
            deferred.trigger,
            lease,
            lease_conn_id=attempt.hook.lease_conn_id,
            schema=attempt.hook.store.schema,
        )

    def _stop_work(self) -> None:
        """Stop external work before the lease is given back. The task runner's later on_kill() then does nothing."""
        if self._lock_stopped:
            return
        try:
            super().on_kill()
        except Exception:
            self.log.exception("on_kill() failed, external work may go on")
        self._lock_stopped = True

    # Templates

    def _do_render_template_fields(
        self, parent: Any, template_fields: Iterable[str], context: Context, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        if parent is not self or self._lock is None:
            super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
            return
        stand_in = LeaseTemplate()
        context["lease"] = stand_in  # type: ignore[typeddict-unknown-key]
        self._lock_rendering, self._lock_renders_again = (context, jinja_env), {}
        for field in template_fields:
            raw, stand_in.asked = getattr(self, field, None), False
            super()._do_render_template_fields(self, (field,), context, jinja_env, seen_oids)
            if stand_in.asked and field == "lock_name":
                raise ConfigurationError(
                    f"task {self.task_id!r}: lock={raw!r} asks for the lease, which is not there before the lock is "
                    "held: name the lock by something else"
                )
            if stand_in.asked:
                self._lock_renders_again[field] = raw

    def _render_with(self, lease: Lease | LeaseSet) -> None:
        """Render the fields that ask for the lease once more; Airflow then shows the real token, too."""
        if self._lock_rendering is None:
            return
        context, jinja_env = self._lock_rendering
        context["lease"] = lease  # type: ignore[typeddict-unknown-key]
        for field, raw in self._lock_renders_again.items():
            setattr(self, field, raw)
            super()._do_render_template_fields(self, (field,), context, jinja_env, set())
            self.overwrite_rtif_after_execution = True

    # Inside

    def _attempt(self, wanted: Wanted, context: Context) -> Attempt:
        assert self.lock_name is not None
        named = wanted.named(self.lock_name)
        if named.scope:
            from airflow_lockprovider.operators.scope_member import MemberAttempt

            return MemberAttempt(named, context["ti"], self.log)
        from airflow_lockprovider.operators.attempt import Attempt

        attempt = Attempt(named, context["ti"], self.log)
        if self._lock_outlives_task:
            attempt.context["scope"] = True  # so that the watch does not take its owner for dead
        return attempt

    @contextmanager
    def _seen(self, attempt: Attempt) -> Iterator[None]:
        """Remember who holds the lock, for the link."""
        try:
            yield
        finally:
            answer = attempt.last_answer
            if answer is not None and answer.leases:
                self.lock_holder = answer.leases[0]


@contextmanager
def _in_environment(lease: Lease | LeaseSet) -> Iterator[None]:
    """The lease for child processes: AIRFLOW_LEASES (JSON: lock name → token) and, if there is one lock only,
    AIRFLOW_LEASE_NAME and AIRFLOW_LEASE_TOKEN."""
    from airflow_lockprovider.lease.model import Lease

    tokens = {one.lock_name: one.token for one in lease.leases}
    values: dict[str, str | None] = {"AIRFLOW_LEASES": json.dumps(tokens)}
    one = lease if isinstance(lease, Lease) else None
    values |= {
        "AIRFLOW_LEASE_NAME": one.lock_name if one else None,
        "AIRFLOW_LEASE_TOKEN": str(one.token) if one else None,
    }
    before = {name: os.environ.get(name) for name in values}
    _set_environment(values)
    try:
        yield
    finally:
        _set_environment(before)


def _set_environment(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
