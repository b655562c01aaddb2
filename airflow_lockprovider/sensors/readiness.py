"""What all readiness sensors share: one probe, three ways to wait for it."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
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
from airflow_lockprovider.sensors.asset_event import event_extra, tell_outlets
from airflow_lockprovider.sensors.mode_override import check_mode, looks_once
from airflow_lockprovider.triggers.clients import client_of
from airflow_lockprovider.triggers.readiness import ReadinessTrigger, log_verdict

if TYPE_CHECKING:
    from airflow.sdk import Context

_STATE_KEY = "lockprovider.readiness"
_XCOM_KEY = "return_value"
_TRIGGER_GRACE = timedelta(minutes=2)
"""The trigger ends at the deadline by itself and can say what is missing; Airflow's own limit comes later."""


class ReadinessSensor(BaseSensorOperator):
    """Waits until a probe says READY.

    A worker looks first: data that is there already costs no deferral. Data that will never come fails the task
    at once with `DataWillNotArrive` or `ReadinessMisconfigured` (skips it with ``soft_fail``), at ``timeout``
    with ``AirflowSensorTimeout``; each names what is missing.

    The last verdict is the task's XCom as a dict, whatever the ending, and while the task waits outside a worker.
    Assets among the ``outlets`` get an event with counts and times once the data is ready.

    :param poke_interval: seconds between two looks, or a pair (shortest, longest): the shortest while data
        arrives, then longer and longer. ``exponential_backoff`` and ``max_wait`` are not used.
    :param max_transient_errors: so many errors of the network or of AWS in a row are waited out.
    :param deferrable: wait in the triggerer. None: yes, unless ``mode="reschedule"``.
    :param mode_override: "once" looks once, changes nothing, and succeeds or fails at once without a retry. A run
        can say the same: ``conf={"mode_override": "once"}`` or a param of that name.
    """

    def __init__(
        self,
        *,
        poke_interval: Interval = (5, 60),
        max_transient_errors: int = 10,
        deferrable: bool | None = None,
        mode_override: Literal["once", "wait"] | None = None,
        **kwargs: Any,
    ) -> None:
        pace = Pace.of(poke_interval)
        super().__init__(poke_interval=pace.shortest, **kwargs)
        if max_transient_errors < 1:
            raise ConfigurationError(f"max_transient_errors={max_transient_errors!r} must be at least 1")
        self.max_transient_errors = max_transient_errors
        self.longest_poke_interval = pace.longest
        self.deferrable = not self.reschedule if deferrable is None else deferrable
        self.mode_override = None if mode_override is None else check_mode(mode_override)
        self._probe: Probe | None = None
        self._verdict: Verdict | None = None
        self._pace = pace
        self._pause = pace.shortest
        self._began = 0.0

    @abstractmethod
    def _plan(self) -> ProbePlan:
        """The probe, with all templates rendered."""

    def look(self) -> Verdict:
        """Look once and change nothing, wherever the connections can be read: no task has to run."""
        return self._build("").look()

    def execute(self, context: Context) -> Any:
        self._probe = self._verdict = None
        self._pace.interval = self._pace.shortest
        self._began = time.time()
        if looks_once(context, self.task_id, self.mode_override):
            return self._look_once(context)
        if self.deferrable:
            return self._begin_then_defer("", context, deadline=time.time() + self.timeout)
        try:
            return super().execute(context)
        except AirflowSensorTimeout as error:
            self._give_up(AirflowSensorTimeout(f"{error} {self._missing(self._last())}"), context, self._last())
        except AirflowSkipException as skipped:
            last = self._last()
            if last is None or last.status is not Status.WAIT:
                raise
            # Airflow's own words for a timeout with soft_fail do not say what is missing.
            self._publish(context, last)
            raise AirflowSkipException(f"{skipped} {self._missing(last)}") from skipped

    def _look_once(self, context: Context) -> dict[str, Any]:
        verdict = self.look()
        log_verdict(self.log, verdict)
        if verdict.status is not Status.READY:
            # Another try would look once more: whoever asked for one look has the answer.
            self._give_up(AirflowFailException(f"{verdict.status}, looked once: {verdict}"), context, verdict)
        return self._ready(verdict, context)

    # -- in the worker

    def poke(self, context: Context) -> bool | PokeReturnValue:
        probe = self._probe = self._probe or self._build(self._saved_state(context))
        if probe.errors_in_a_row:
            probe.clients = self._clients()  # one may hold on to an expired token
        before = self._verdict.arrived if self._verdict else -1
        verdict = self._verdict = probe.begin() if probe.must_begin else probe.step()
        log_verdict(self.log, verdict)
        if verdict.status is Status.READY:
            return PokeReturnValue(is_done=True, xcom_value=self._ready(verdict, context))
        if verdict.status is not Status.WAIT:
            self._give_up(error_for(verdict), context, verdict)
        self._pause = self._pace.next(progress=verdict.arrived > before, error=bool(probe.errors_in_a_row))
        if self.reschedule:
            self._save_state(context, probe, verdict)
            self._publish(context, verdict)
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
        self._began = saved["began"]
        return str(saved["state"])

    def _save_state(self, context: Context, probe: Probe, verdict: Verdict) -> None:
        context["task_state_store"].set(
            _STATE_KEY,
            {
                "ti_id": str(context["ti"].id),
                "state": probe.state(),
                "interval": self._pace.interval,
                "verdict": verdict.as_dict(),
                "began": self._began,
            },
        )

    # -- with the triggerer

    def _begin_then_defer(self, state: str, context: Context, *, deadline: float) -> dict[str, Any]:
        """Begin here, where it happens once; wait there."""
        probe = self._build(state)
        verdict = self._begun(probe, context, deadline)
        if verdict.status is Status.READY:
            return self._ready(verdict, context)
        self._publish(context, verdict)
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

    def _begun(self, probe: Probe, context: Context, deadline: float) -> Verdict:
        """READY or WAIT, with ``begin()`` done."""
        while True:
            verdict = probe.begin()
            log_verdict(self.log, verdict)
            if verdict.status not in (Status.READY, Status.WAIT):
                self._give_up(error_for(verdict), context, verdict)
            if not probe.must_begin:
                return verdict
            # An error on the way: only a worker may begin, so it tries again here.
            if (left := deadline - time.time()) <= 0:
                self._give_up(self._timed_out(verdict), context, verdict)
            time.sleep(min(self._pace.next(progress=False, error=bool(probe.errors_in_a_row)), left))
            if probe.errors_in_a_row:
                probe.clients = self._clients()

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Go on after the trigger's event."""
        self._began = event["deadline"] - self.timeout
        if event["outcome"] == "begin":
            return self._begin_then_defer(event["state"], context, deadline=event["deadline"])
        if event["outcome"] == "error":
            # What was published before the deferral stays: nothing newer is known.
            self._give_up(LockProviderError(f"the trigger failed: {event['message']}; its log has more"), context, None)
        verdict = Verdict.from_dict(event["verdict"])
        log_verdict(self.log, verdict)
        if event["outcome"] == "timeout":
            self._give_up(self._timed_out(verdict), context, verdict)
        if verdict.status is not Status.READY:
            self._give_up(error_for(verdict), context, verdict)
        return self._ready(verdict, context)

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
        return self._plan().probe(self._clients(), state)

    def _clients(self) -> dict[str, Any]:
        return {name: client_of(endpoint) for name, endpoint in self._plan().endpoints.items()}

    def _ready(self, verdict: Verdict, context: Context) -> dict[str, Any]:
        """The task's result, told to its outlets as well."""
        extra = event_extra(
            verdict, kind=self._plan().kind, about=self._about(), waited=max(0.0, time.time() - self._began)
        )
        tell_outlets(self.outlets, context.get("outlet_events"), extra)
        return verdict.as_dict()

    def _about(self) -> Mapping[str, Any]:
        """Whose readiness it is: the rendered fields, without connections."""
        names = [name for name in self.template_fields if not name.endswith("conn_id")]
        return {name: getattr(self, name, None) for name in names}

    def _publish(self, context: Context, verdict: Verdict) -> None:
        """Let people and later tasks see why the data is not ready (a success is published by Airflow itself)."""
        if not self.do_xcom_push:
            return
        try:
            context["ti"].xcom_push(_XCOM_KEY, verdict.as_dict())
        except Exception as error:
            # The ending must keep its own reason.
            self.log.warning("the verdict could not be published as XCom: %s: %s", type(error).__name__, error)

    def _last(self) -> Verdict | None:
        """Of the last poke."""
        return self._verdict

    def _timed_out(self, verdict: Verdict) -> AirflowSensorTimeout:
        return AirflowSensorTimeout(f"not ready after {self.timeout:g} s. {self._missing(verdict)}")

    @staticmethod
    def _missing(verdict: Verdict | None) -> str:
        if verdict is None:
            return ""
        oldest = f"; the oldest missing is {verdict.missing_sample[0]}" if verdict.missing_sample else ""
        return f"Last verdict: {verdict}{oldest}"

    def _give_up(self, error: Exception, context: Context, verdict: Verdict | None) -> NoReturn:
        if verdict is not None:
            self._publish(context, verdict)
        # The same in all modes; Airflow's own soft_fail knows only its own errors.
        if self.soft_fail or self.never_fail:
            raise AirflowSkipException(str(error)) from error
        raise error
