# ruff: noqa: PT012  (it is a longer body that is interrupted)
from __future__ import annotations

import copy
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_lockprovider.lease import LeaseLost
from airflow_lockprovider.lease.interrupt import Interrupter

LOST = LeaseLost("it is gone", lock_name="x")


@pytest.fixture(autouse=True)
def _signal_handler_is_put_back() -> Iterator[None]:
    before = signal.getsignal(signal.SIGUSR1)
    yield
    assert signal.getsignal(signal.SIGUSR1) is before


def in_main_thread(body: Callable[[], None]) -> None:
    body()


def in_other_thread(body: Callable[[], None]) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            body()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    if errors:
        raise errors[0]


def _some_work(seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.001)
    pytest.fail("nobody interrupted")


def _from_elsewhere(call: Callable[[], Any]) -> Any:
    """What another thread gets that calls it."""
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(call()))
    thread.start()
    thread.join()
    return answers[0]


@pytest.mark.parametrize("where", [in_main_thread, in_other_thread])
def test_the_body_is_stopped_by_the_error(where: Callable[[Callable[[], None]], None]) -> None:
    def body() -> None:
        with Interrupter() as interrupter:
            threading.Timer(0.02, interrupter.interrupt, [LOST]).start()
            _some_work()

    with pytest.raises(LeaseLost, match="it is gone") as caught:
        where(body)
    assert caught.value.lock_name == "x"
    assert str(pickle.loads(pickle.dumps(caught.value))) == "it is gone"
    assert copy.copy(caught.value).lock_name == "x"


def test_a_system_call_that_blocks_the_main_thread_is_woken() -> None:
    started = time.monotonic()
    with pytest.raises(LeaseLost):
        with Interrupter() as interrupter:
            threading.Timer(0.02, interrupter.interrupt, [LOST]).start()
            time.sleep(20)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("where", [in_main_thread, in_other_thread])
def test_who_has_left_is_not_interrupted(where: Callable[[Callable[[], None]], None]) -> None:
    def body() -> None:
        with Interrupter() as interrupter:
            pass
        assert interrupter.interrupt(LOST) is False
        _from_elsewhere(lambda: None)

    where(body)


@pytest.mark.parametrize("where", [in_main_thread, in_other_thread])
def test_only_the_first_interrupt_counts(where: Callable[[Callable[[], None]], None]) -> None:
    said: list[bool] = []

    def body() -> None:
        with Interrupter() as interrupter:
            try:
                said.append(_from_elsewhere(lambda: interrupter.interrupt(LOST)))
                _some_work()
            except LeaseLost:
                said.append(_from_elsewhere(lambda: interrupter.interrupt(LeaseLost("again"))))
                for _ in range(100):
                    time.sleep(0)

    where(body)
    assert said in ([True, False], [False])  # in the main thread the error may come before the first answer


@pytest.mark.parametrize("where", [in_main_thread, in_other_thread])
def test_the_error_comes_inside_or_never(where: Callable[[Callable[[], None]], None]) -> None:
    """Asked for at the very moment at which the body ends, again and again."""

    def body() -> None:
        outside = 0
        for turn in range(200):
            go = threading.Event()
            try:
                with Interrupter() as interrupter:

                    def strike(interrupter: Interrupter = interrupter, go: threading.Event = go) -> None:
                        go.wait()
                        interrupter.interrupt(LOST)

                    striker = threading.Thread(target=strike)
                    striker.start()
                    go.set()
                    for _ in range(turn):
                        pass
            except LeaseLost:
                pass
            try:
                striker.join()
                for _ in range(50):
                    pass
            except LeaseLost:
                outside += 1
        assert outside == 0

    where(body)


def test_an_outer_body_is_interrupted_while_an_inner_one_runs() -> None:
    """Two locks are held: the loss of the outer one is raised at once, not at the end of the inner one."""
    with pytest.raises(LeaseLost, match="the outer one"):
        with Interrupter() as outer:
            with Interrupter():
                threading.Timer(0.02, outer.interrupt, [LeaseLost("the outer one")]).start()
                _some_work()


def test_the_inner_body_is_interrupted_and_the_outer_one_goes_on() -> None:
    with Interrupter() as outer:
        with pytest.raises(LeaseLost, match="the inner one"):
            with Interrupter() as inner:
                threading.Timer(0.02, inner.interrupt, [LeaseLost("the inner one")]).start()
                _some_work()
        with pytest.raises(LeaseLost, match="the outer one"):
            threading.Timer(0.02, outer.interrupt, [LeaseLost("the outer one")]).start()
            _some_work()


def test_signals_of_the_program_itself_still_reach_it() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: came.append(number))
    try:
        with Interrupter():
            signal.raise_signal(signal.SIGUSR1)
            assert came == [signal.SIGUSR1]
        signal.raise_signal(signal.SIGUSR1)
        assert came == [signal.SIGUSR1] * 2
    finally:
        signal.signal(signal.SIGUSR1, before)
