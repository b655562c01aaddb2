"""execution_timeout limits the body alone, wherever the waiting happened; SIGTERM ends the waiting, too."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta

import pytest
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG

from airflow_lockprovider import LeaseHook, LockedOperator

from .deferring import NOTES, Defers, Ping

LIMIT = timedelta(seconds=0.6)
LONGER = 1.0


@pytest.fixture(autouse=True)
def _empty_notes():
    NOTES.clear()


def python(callable_, **kwargs):
    with DAG("a_dag", schedule=None):
        return LockedOperator(
            task_id="load", operator=PythonOperator, python_callable=callable_, lock="dwh.sales", **kwargs
        )


def before(monkeypatch, verb, what):
    """Do ``what`` in this process before a verb of the task's own hook is called."""
    plain = getattr(LeaseHook, verb)

    def called(self, *args, **kwargs):
        what()
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(LeaseHook, verb, called)


def after(monkeypatch, verb, what):
    """Do ``what`` when a verb has done its work, but its answer has not come yet."""
    plain = getattr(LeaseHook, verb)

    def called(self, *args, **kwargs):
        answer = plain(self, *args, **kwargs)
        what()
        return answer

    monkeypatch.setattr(LeaseHook, verb, called)


@pytest.mark.parametrize("verb", ["try_acquire", "release"])
def test_time_spent_on_the_lock_is_not_the_bodys(hook, run, monkeypatch, verb):
    before(monkeypatch, verb, lambda: time.sleep(LONGER))

    outcome = run(python(lambda: "done", execution_timeout=LIMIT))

    assert outcome.pushed() == "done"
    assert hook.leases() == []


def test_the_body_has_its_whole_time_and_no_more_after_waiting_on_the_worker(hook, run, monkeypatch):
    before(monkeypatch, "try_acquire", lambda: time.sleep(0.4))
    ended = []

    def body():
        started = time.monotonic()
        try:
            time.sleep(20)
        finally:
            ended.append(time.monotonic() - started)

    outcome = run(python(body, execution_timeout=LIMIT))

    assert type(outcome.error).__name__ == "AirflowTaskTimeout"
    assert LIMIT.total_seconds() <= ended[0] + 0.05
    assert ended[0] < 10
    assert hook.leases() == []


def test_waiting_in_the_triggerer_has_no_limit_but_wait_timeout(hook, run):
    hook.try_acquire("dwh.sales")
    outcome = run(python(print, execution_timeout=LIMIT))

    assert outcome.state == "deferred"
    assert outcome.message.trigger_timeout is None


def test_each_leg_of_the_body_has_the_whole_time_and_its_own_deferral_the_limit_it_asked_for(hook, run, next_leg):
    """As without a lock: Airflow 3.3.2 arms execution_timeout once per leg."""

    class Slow(Defers):
        def execute(self, context):
            time.sleep(0.4)
            self.defer(trigger=self.trigger, method_name="complete", kwargs={"number": 1}, timeout=timedelta(hours=3))

        def complete(self, context, event, number):
            time.sleep(0.4)
            return "done"

    with DAG("a_dag", schedule=None):
        task = LockedOperator(task_id="load", operator=Slow, trigger=Ping(), lock="dwh.sales", execution_timeout=LIMIT)

    working = run(task)

    assert working.message.trigger_timeout == timedelta(hours=3)
    assert next_leg(task, working).pushed() == "done"


def test_a_task_without_execution_timeout_leaves_the_timer_of_its_process_alone(hook, run):
    fired = []
    previous = signal.signal(signal.SIGALRM, lambda *_: fired.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 30)
        run(python(print))
        assert signal.setitimer(signal.ITIMER_REAL, 0)[0] > 0
    finally:
        signal.signal(signal.SIGALRM, previous)


# SIGTERM outside the body


@pytest.mark.parametrize("when", [before, after], ids=["before it is granted", "just after it was granted"])
def test_sigterm_while_a_worker_asks_for_the_lock_gives_up_what_it_has(hook, run, monkeypatch, when):
    when(monkeypatch, "try_acquire", lambda: os.kill(os.getpid(), signal.SIGTERM))
    ran = []

    outcome = run(python(lambda: ran.append(1)))

    assert type(outcome.error).__name__ == "TaskAborted"
    assert ran == []
    assert hook.leases() == []


def test_a_task_whose_on_kill_fails_is_unwound_and_gives_up_what_it_has_all_the_same(hook, run, monkeypatch):
    after(monkeypatch, "try_acquire", lambda: os.kill(os.getpid(), signal.SIGTERM))

    class Stubborn(PythonOperator):
        def on_kill(self):
            raise RuntimeError("cannot stop it")

    with DAG("a_dag", schedule=None):
        task = LockedOperator(task_id="load", operator=Stubborn, python_callable=print, lock="dwh.sales")

    assert type(run(task).error).__name__ == "TaskAborted"
    assert hook.leases() == []


def test_sigterm_after_a_ticket_was_drawn_leaves_the_line(hook, run, monkeypatch):
    hook.try_acquire("dwh.sales")
    after(monkeypatch, "enqueue", lambda: os.kill(os.getpid(), signal.SIGTERM))

    assert type(run(python(print)).error).__name__ == "TaskAborted"
    assert hook.queue() == []


def test_sigterm_while_a_reservation_is_confirmed_gives_it_back(hook, run, next_leg, monkeypatch):
    other = hook.try_acquire("dwh.sales")
    task = python(print)
    waiting = run(task)
    hook.release(other)
    after(monkeypatch, "confirm", lambda: os.kill(os.getpid(), signal.SIGTERM))

    assert type(next_leg(task, waiting).error).__name__ == "TaskAborted"
    assert hook.leases() == []
    assert hook.queue() == []


def test_sigterm_while_the_lock_is_given_back_does_not_keep_it(hook, run, monkeypatch):
    signals = iter([1])
    before(monkeypatch, "release", lambda: next(signals, None) and os.kill(os.getpid(), signal.SIGTERM))

    run(python(print))

    assert hook.leases() == []


def test_sigterm_while_a_deferral_is_handed_over_gives_the_lock_back(hook, run, monkeypatch):
    signals = iter([1])
    before(monkeypatch, "renew", lambda: next(signals, None) and os.kill(os.getpid(), signal.SIGTERM))
    with DAG("a_dag", schedule=None):
        task = LockedOperator(task_id="load", operator=Defers, trigger=Ping(), lock="dwh.sales")

    assert type(run(task).error).__name__ == "TaskAborted"
    assert hook.leases() == []
