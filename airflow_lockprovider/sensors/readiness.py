"""What all readiness sensors share: one probe, three ways to wait for it."""

from __future__ import annotations

import time
from abc import abstractmethod
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
)

from airflow_lockprovider.lease.errors import ConfigurationError, LockProviderError
from airflow_lockprovider.readiness.errors import error_for
from airflow_lockprovider.readiness.pace import Interval, Pace
from airflow_lockprovider.readiness.plan import ProbePlan
from airflow_lockprovider.readiness.probe import Probe
from airflow_lockprovider.readiness.verdict import Status, Verdict
from airflow_lockprovider.triggers.readiness import ReadinessTrigger, client_of, log_verdict

if TYPE_CHECKING:
    from airflow.sdk import Context

_STATE_KEY = "lockprovider.readiness"
_TRIGGER_GRACE = timedelta(minutes=2)
"""The trigger ends at the deadline by itself and can say what is missing; Airflow's own limit comes later."""


class ReadinessSensor(BaseSensorOperator):
    """Waits until a probe says READY, and returns the verdict as a dict (so it is the task's XCom).

    A worker looks first: data that is there already costs no deferral. Data that will never come fails the task
    at once with `DataWillNotArrive` or `ReadinessMisconfigured` (skips it with ``soft_fail``), at ``timeout``
    with ``AirflowSensorTimeout``; each names what is missing.

    :param poke_interval: seconds between two looks, or a pair (shortest, longest): the shortest while data
        arrives, then longer and longer. ``exponential_backoff`` and ``max_wait`` are not used.
    :param max_transient_errors: so many errors of the network or of AWS in a row are waited out.
    :param deferrable: wait in the triggerer. None: yes, unless ``mode="reschedule"``.
    """

    def __init__(
        self,
        *,
        poke_interval: Interval = (5, 60),
        max_transient_errors: int = 10,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        pace = Pace.of(poke_interval)
        super().__init__(poke_interval=pace.shortest, **kwargs)
        if max_transient_errors < 1:
            raise ConfigurationError(f"max_transient_errors={max_transient_errors!r} must be at least 1")
        self.max_transient_errors = max_transient_errors
        self.longest_poke_interval = pace.longest
        self.deferrable = not self.reschedule if deferrable is None else deferrable
        self._probe: Probe | None = None
        self._verdict: Verdict | None = None
        self._pace = pace
        self._pause = pace.shortest

    @abstractmethod
    def _plan(self) -> ProbePlan:
        """The probe, with all templates rendered."""

    def execute(self, context: Context) -> Any:
        self._probe = self._verdict = None
        if self.deferrable:
            return self._begin_then_defer("", deadline=time.time() + self.timeout)
        try:
            return super().execute(context)
        except AirflowSensorTimeout as error:
            raise AirflowSensorTimeout(f"{error} {self._missing(self._verdict)}") from error

    # -- in the worker

    def poke(self, context: Context) -> bool | PokeReturnValue:
        probe = self._probe = self._probe or self._build(self._saved_state(context))
        before = self._verdict.arrived if self._verdict else -1
        verdict = self._verdict = probe.begin() if probe.must_begin else probe.step()
        log_verdict(self.log, verdict)
        if verdict.status is Status.READY:
            return PokeReturnValue(is_done=True, xcom_value=verdict.as_dict())
        if verdict.status is not Status.WAIT:
            self._give_up(error_for(verdict))
        self._pause = self._pace.next(progress=verdict.arrived > before)
        if self.reschedule:
            self._save_state(context, probe, verdict)
        return False

    def _get_next_poke_interval(self, *args: Any, **kwargs: Any) -> float:
        return self._pause

    def _saved_state(self, context: Context) -> str:
        """What an earlier poke of this very try has left; every poke is a process of its own when rescheduled."""
        if not self.reschedule:
            return ""
        store = context.get("task_state_store")
        if store is None:
            raise ConfigurationError(
                "mode='reschedule' needs the task state store of Airflow 3.3 to remember what it waits for between "
                "two pokes: use deferrable=True, or mode='poke'"
            )
        saved: Any = store.get(_STATE_KEY)
        # The store outlives retries and clears, which have to begin anew; the id is new with every try.
        if not isinstance(saved, dict) or saved["ti_id"] != str(context["ti"].id):
            return ""
        self._pace.interval = saved["interval"]
        self._verdict = Verdict.from_dict(saved["verdict"])
        return str(saved["state"])

    def _save_state(self, context: Context, probe: Probe, verdict: Verdict) -> None:
        context["task_state_store"].set(
            _STATE_KEY,
            {
                "ti_id": str(context["ti"].id),
                "state": probe.state(),
                "interval": self._pace.interval,
                "verdict": verdict.as_dict(),
            },
        )

    # -- with the triggerer

    def _begin_then_defer(self, state: str, *, deadline: float) -> dict[str, Any]:
        """Begin here, where it happens once; wait there."""
        probe = self._build(state)
        verdict = self._begun(probe, deadline)
        if verdict.status is Status.READY:
            return verdict.as_dict()
        return self.defer(
            trigger=ReadinessTrigger(
                plan=self._plan().as_dict(),
                state=probe.state(),
                poke_interval=[self.poke_interval, self.longest_poke_interval],
                deadline=deadline,
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=max(0.0, deadline - time.time())) + _TRIGGER_GRACE,
        )

    def _begun(self, probe: Probe, deadline: float) -> Verdict:
        """READY or WAIT, with ``begin()`` done."""
        while True:
            verdict = probe.begin()
            log_verdict(self.log, verdict)
            if verdict.status not in (Status.READY, Status.WAIT):
                self._give_up(error_for(verdict))
            if not probe.must_begin:
                return verdict
            # An error on the way: only a worker may begin, so it tries again here.
            if (left := deadline - time.time()) <= 0:
                self._give_up(self._timed_out(verdict))
            time.sleep(min(self._pace.next(progress=False), left))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Go on after the trigger's event."""
        if event["outcome"] == "begin":
            return self._begin_then_defer(event["state"], deadline=event["deadline"])
        if event["outcome"] == "error":
            self._give_up(LockProviderError(f"the trigger failed: {event['message']}; its log has more"))
        verdict = Verdict.from_dict(event["verdict"])
        log_verdict(self.log, verdict)
        if event["outcome"] == "timeout":
            self._give_up(self._timed_out(verdict))
        if verdict.status is not Status.READY:
            self._give_up(error_for(verdict))
        return verdict.as_dict()

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowSkipException as skipped:
            if isinstance(skipped.__cause__, AirflowSkipException):
                # Airflow has wrapped our skip into one without the reason.
                raise skipped.__cause__ from skipped.__cause__.__cause__
            raise

    # -- both

    def _build(self, state: str) -> Probe:
        plan = self._plan()
        return plan.probe({name: client_of(endpoint) for name, endpoint in plan.endpoints.items()}, state)

    def _timed_out(self, verdict: Verdict) -> AirflowSensorTimeout:
        return AirflowSensorTimeout(f"not ready after {self.timeout:g} s. {self._missing(verdict)}")

    @staticmethod
    def _missing(verdict: Verdict | None) -> str:
        if verdict is None:
            return ""
        oldest = f"; the oldest missing is {verdict.missing_sample[0]}" if verdict.missing_sample else ""
        return f"Last verdict: {verdict}{oldest}"

    def _give_up(self, error: Exception) -> NoReturn:
        # The same in all modes; Airflow's own soft_fail knows only its own errors.
        if self.soft_fail or self.never_fail:
            raise AirflowSkipException(str(error)) from error
        raise error
