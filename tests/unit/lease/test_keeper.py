from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from fake_engine import FakeEngine, a_lease

from airflow_lockprovider.lease import ConfigurationError, Keeper, Lease, LeaseLost, LeaseSettings, StoreUnavailable
from airflow_lockprovider.lease import keeper as keeper_module
from airflow_lockprovider.lease.model import Renewal

SOON = 10.0
"""Seconds that a test waits for what comes at once; only a failure takes that long."""


class Loss:
    """What the keeper tells, at most once."""

    def __init__(self) -> None:
        self.told: list[LeaseLost] = []
        self.came = threading.Event()

    def __call__(self, error: LeaseLost) -> None:
        self.told.append(error)
        self.came.set()


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "_LOOK", 0.005)


def _keeper(engine: FakeEngine, loss: Callable[[LeaseLost], object], lease: Lease | None = None) -> Keeper:
    return Keeper(engine, lease or a_lease(), loss)  # type: ignore[arg-type]


def _raise(error: BaseException) -> Any:
    def answer(lease: Lease) -> Renewal:
        raise error

    return answer


def test_a_lease_is_renewed_until_the_keeper_is_stopped() -> None:
    engine, loss = FakeEngine(lambda lease: engine.renewed(lease)), Loss()
    with _keeper(engine, loss) as keeper:
        engine.now += 0.05
        assert engine.asked_again.wait(SOON)
    assert keeper.lease.trusted_until == pytest.approx(engine.now + 0.1)
    assert engine.closed.wait(SOON), "its thread's connection is closed"
    assert (keeper.loss, loss.told) == (None, [])
    asked = engine.asked
    engine.now += 1000
    assert engine.asked == asked
    assert loss.told == [], "after the stop nothing is a loss"


def test_a_lease_of_which_little_is_left_is_renewed_in_time() -> None:
    """It was granted some time ago: the first request's answer was lost."""
    engine, loss = FakeEngine(lambda lease: engine.renewed(lease)), Loss()
    with _keeper(engine, loss, a_lease(ttl=100, trusted_until=1010.1)) as keeper:
        for _ in range(1000):
            if engine.asked:
                break
            loss.came.wait(0.01)
    assert engine.asked
    assert keeper.lease.trusted_until == 1100
    assert loss.told == []


def test_the_word_of_the_database_is_a_loss() -> None:
    engine, loss = FakeEngine(lambda lease: Renewal(lease, "lost", "it was revoked by ann: stuck")), Loss()
    with _keeper(engine, loss) as keeper:
        assert loss.came.wait(SOON)
        assert engine.closed.wait(SOON)
    assert loss.told == [keeper.loss]
    assert str(keeper.loss) == "lease on 'x', token 7, of dag/run was lost: it was revoked by ann: stuck"
    assert keeper.loss.lock_name == "x"
    assert engine.asked == 1


def test_a_database_that_does_not_answer_for_a_moment_is_no_loss() -> None:
    engine = FakeEngine(
        _raise(StoreUnavailable("gone")), _raise(StoreUnavailable("gone")), lambda lease: engine.renewed(lease)
    )
    loss = Loss()
    with _keeper(engine, loss) as keeper:
        assert engine.asked_again.wait(SOON)
    assert (keeper.loss, loss.told) == (None, [])


def test_a_row_that_is_locked_for_a_moment_is_no_loss() -> None:
    engine = FakeEngine(*[lambda lease: Renewal(lease, "skipped")] * 2, lambda lease: engine.renewed(lease))
    loss = Loss()
    with _keeper(engine, loss) as keeper:
        assert engine.asked_again.wait(SOON)
    assert (keeper.loss, loss.told) == (None, [])


@pytest.mark.parametrize("answer", ["unavailable", "skipped"])
def test_what_cannot_be_renewed_until_the_deadline_is_a_loss(answer: str) -> None:
    engine = FakeEngine(
        _raise(StoreUnavailable("gone")) if answer == "unavailable" else lambda lease: Renewal(lease, "skipped")
    )
    loss = Loss()
    with _keeper(engine, loss) as keeper:
        assert engine.asked_again.wait(SOON)
        engine.now += 0.0899  # the margin is a tenth of the ttl of 0.1 s
        assert not loss.came.wait(0.05)
        engine.now += 0.0002
        assert loss.came.wait(SOON)
    assert loss.told == [keeper.loss]
    assert "could not be renewed in time" in str(keeper.loss)


def test_the_deadline_holds_while_a_renewal_hangs() -> None:
    hangs, go_on = threading.Event(), threading.Event()

    def hang(lease: Lease) -> Renewal:
        hangs.set()
        assert go_on.wait(SOON)
        return engine.renewed(lease)

    engine, loss = FakeEngine(hang), Loss()
    keeper = _keeper(engine, loss)
    keeper.start()
    try:
        assert hangs.wait(SOON)
        assert not loss.told
        engine.now += 0.1
        assert loss.came.wait(SOON)
    finally:
        go_on.set()
        keeper.stop()
    assert loss.told == [keeper.loss], "the late answer changes nothing"


def test_a_machine_that_slept_past_the_deadline_is_noticed_when_it_wakes() -> None:
    """Waits of threads stand still while a machine sleeps; the lease's clock does not."""
    engine, loss = FakeEngine(lambda lease: engine.renewed(lease)), Loss()
    with _keeper(engine, loss, a_lease(ttl=3600, trusted_until=4600)):
        engine.now += 7200
        assert loss.came.wait(SOON)
    assert engine.asked == 0


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), ConfigurationError("no rights"), SystemExit()])
def test_a_keeper_that_crashes_is_a_loss(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    engine, loss = FakeEngine(_raise(error)), Loss()
    with caplog.at_level(logging.ERROR), _keeper(engine, loss) as keeper:
        assert loss.came.wait(SOON)
        assert engine.closed.wait(SOON)
    assert loss.told == [keeper.loss]
    assert "can no longer be kept" in str(keeper.loss)
    assert type(error).__name__ in str(keeper.loss)


def test_a_renewal_period_that_does_not_fit_the_ttl_is_refused_before_anything_starts() -> None:
    engine = FakeEngine(lambda lease: engine.renewed(lease), settings=LeaseSettings(renew_every=30))
    with pytest.raises(ConfigurationError, match="ttl=30 must be well above the renewal period"):
        _keeper(engine, Loss(), a_lease(ttl=30))


def test_the_body_may_stop_the_keeper_from_the_callback() -> None:
    engine = FakeEngine(lambda lease: Renewal(lease, "lost", "gone"))
    ended = threading.Event()

    def stop(error: LeaseLost) -> None:
        keeper.stop()
        ended.set()

    keeper = _keeper(engine, stop)
    keeper.start()
    assert ended.wait(SOON)
    keeper.stop()


def test_danger_is_told_once_before_the_loss_and_again_after_a_renewal() -> None:
    told: list[float] = []
    fails = _raise(StoreUnavailable("gone"))
    works = threading.Event()

    def answer(lease: Lease) -> Renewal:
        return engine.renewed(lease) if works.is_set() else fails(lease)

    engine, loss = FakeEngine(answer), Loss()
    warned = threading.Semaphore(0)

    def on_danger(left: float) -> None:
        told.append(left)
        warned.release()
        raise ZeroDivisionError("what it raises is not the keeper's business")

    with Keeper(engine, a_lease(), loss, on_danger) as keeper:  # type: ignore[arg-type]
        assert not warned.acquire(timeout=0.05), "more than half of the ttl is left"
        engine.now += 0.06
        assert warned.acquire(timeout=SOON)
        assert not warned.acquire(timeout=0.05), "once"
        works.set()
        renewed = engine.asked
        for _ in range(1000):
            if engine.asked > renewed + 1 and keeper.lease.trusted_until > 1000.15:
                break
            loss.came.wait(0.01)
        works.clear()
        engine.now += 0.06
        assert warned.acquire(timeout=SOON), "after a renewal it is told anew"
    assert loss.told == []
    assert [0 < left < 0.05 for left in told] == [True, True]


def test_a_keeper_limits_its_calls_so_that_another_one_fits_into_the_ttl() -> None:
    engine = FakeEngine(lambda lease: engine.renewed(lease))
    with _keeper(engine, Loss(), a_lease(ttl=0.2, trusted_until=1000.2)):
        assert engine.asked_again.wait(SOON)
    assert engine.limit == 0.05
