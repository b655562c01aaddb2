# ruff: noqa: PT012  (it is a longer body that is stopped)
"""hold(): acquired, kept, released; and a body that stops when the lease is lost."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from airflow_lockprovider.lease import (
    LeaseEngine,
    LeaseLost,
    LeaseSettings,
    LeaseWaitTimeout,
    StoreUnavailable,
    connect,
)
from airflow_lockprovider.lease.store import Store

QUICK = LeaseSettings(ttl=1.0, skip_after=1.0, poll_interval=0.05)


@pytest.fixture
def quick(database: str, engine: LeaseEngine) -> Iterator[LeaseEngine]:
    """An engine whose leases live for a second."""
    quick = connect(database, settings=QUICK)
    yield quick
    quick.close()


def _wait_for_the_end(seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.005)
    pytest.fail("nobody stopped the body")


def test_a_lease_is_held_renewed_and_given_back(quick: LeaseEngine, engine: LeaseEngine) -> None:
    with quick.hold("x") as lease:
        for _ in range(200):
            (seen,) = engine.leases("x")
            assert seen.token == lease.token
            if seen.expires_at > lease.expires_at:
                break
            time.sleep(0.01)
        else:
            pytest.fail("it was not renewed")
        assert not engine.try_acquire("x")
    assert engine.leases("x") == []
    assert engine.last_event("x", lease.owner_id) == "released"
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lease-x")]


def test_an_error_of_the_body_comes_through_and_the_lease_is_given_back(quick: LeaseEngine) -> None:
    with pytest.raises(ZeroDivisionError):
        with quick.hold("x"):
            raise ZeroDivisionError
    assert quick.leases("x") == []


def test_a_lock_that_does_not_become_free_in_time_is_not_held(quick: LeaseEngine, engine: LeaseEngine) -> None:
    engine.try_acquire("x")
    with pytest.raises(LeaseWaitTimeout):
        with quick.hold("x", wait_timeout=0.1):
            pytest.fail("it is not ours")
    assert engine.queue("x") == []


def _directly(body: Callable[[], None]) -> None:
    body()


def _in_thread(body: Callable[[], None]) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            body()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    for error in errors:
        raise error


@pytest.mark.parametrize("where", [_directly, _in_thread])
def test_the_body_is_stopped_when_the_lease_is_revoked(
    quick: LeaseEngine, engine: LeaseEngine, where: Callable[[Callable[[], None]], None]
) -> None:
    def body() -> None:
        with quick.hold("x"):
            engine.revoke("x", by="ann", reason="stuck")
            _wait_for_the_end()

    with pytest.raises(LeaseLost, match="it was revoked by ann: stuck") as caught:
        where(body)
    assert caught.value.lock_name == "x"


def test_a_body_that_swallows_the_loss_does_not_pass_for_success(quick: LeaseEngine, engine: LeaseEngine) -> None:
    with pytest.raises(LeaseLost, match="it was revoked by ann: stuck"):
        with quick.hold("x"):
            engine.revoke("x", by="ann", reason="stuck")
            with contextlib.suppress(LeaseLost):
                _wait_for_the_end()


def test_of_two_held_locks_the_loss_of_either_stops_the_body(quick: LeaseEngine, engine: LeaseEngine) -> None:
    for lost in ("outer", "inner"):
        with pytest.raises(LeaseLost) as caught:
            with quick.hold("outer"), quick.hold("inner"):
                engine.revoke(lost, by="ann", reason="stuck")
                _wait_for_the_end()
        assert caught.value.lock_name == lost
        assert engine.leases() == []


def test_a_database_that_is_gone_at_the_end_fails_neither_the_body_nor_hides_its_error(
    quick: LeaseEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(*args: Any) -> None:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(quick, "release", gone)
    with caplog.at_level(logging.WARNING):
        with quick.hold("x"):
            pass
    assert "could not be released, it ends by itself within 1 s" in caplog.text
    with pytest.raises(ZeroDivisionError):
        with quick.hold("y"):
            raise ZeroDivisionError


def test_a_database_that_never_answers_again_stops_the_body_before_others_may_start(
    quick: LeaseEngine, engine: LeaseEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*args: Any) -> None:
        raise StoreUnavailable("gone")

    monkeypatch.setattr(quick, "renew_many", gone)
    with pytest.raises(LeaseLost, match="could not be renewed in time"):
        with quick.hold("x") as lease:
            try:
                _wait_for_the_end()
            except LeaseLost:
                assert [one.token for one in engine.leases("x")] == [lease.token], "it still lives"
                raise


def test_a_guarded_write_in_a_held_body_outlasts_the_ttl(
    quick: LeaseEngine, engine: LeaseEngine, admin: psycopg.Connection[Any]
) -> None:
    """The transaction is open for longer than the ttl, working: renewals pass beside it."""
    admin.execute("create table sales (amount int)")
    with quick.hold("x") as lease:
        with quick.fenced(lease) as cursor:
            for _ in range(4):
                cursor.execute("insert into sales select 1 from pg_sleep(0.3)")
    assert admin.execute("select count(*) from sales").fetchone() == (4,)


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
@pytest.mark.parametrize("where", [_directly, _in_thread])
def test_a_loss_while_a_guarded_statement_runs_ends_that_statement_too(
    database: str,
    engine: LeaseEngine,
    where: Callable[[Callable[[], None]], None],
    driver: str,
) -> None:
    """Else the lock would drain for as long as the statement runs."""
    module = pytest.importorskip(driver)
    # Where code in C cannot be woken it ends first, and the guard refuses its commit.
    seconds = 60 if driver == "psycopg" and where is _directly else 1.5
    quick = LeaseEngine(Store(lambda: module.connect(database), schema="lockprovider"), QUICK)

    def revoke_when_it_runs() -> None:
        with psycopg.connect(database, autocommit=True) as admin:
            while not admin.execute("select 1 from pg_stat_activity where query like 'select pg_sleep%'").fetchone():
                time.sleep(0.01)
        engine.revoke("x", by="ann", reason="stuck")
        engine.close()

    def body() -> None:
        with quick.hold("x") as lease:
            revoker = threading.Thread(target=revoke_when_it_runs)
            revoker.start()
            try:
                with quick.fenced(lease) as cursor:
                    cursor.execute(f"select pg_sleep({seconds})")
            finally:
                revoker.join()

    started = time.monotonic()
    with pytest.raises(LeaseLost):
        where(body)
    assert engine.acquire("x", wait_timeout=10), "nothing drains any more"
    assert time.monotonic() - started < 15
    quick.close()


def test_a_loss_in_the_middle_of_a_verb_leaves_a_usable_engine(
    quick: LeaseEngine, engine: LeaseEngine, admin: psycopg.Connection[Any]
) -> None:
    def revoke_when_it_waits() -> None:
        while not admin.execute("select 1 from pg_stat_activity where wait_event_type = 'Lock'").fetchone():
            time.sleep(0.01)
        engine.revoke("x", by="ann", reason="stuck")
        engine.close()

    engine.release(engine.try_acquire("y"))  # a plain no would not wait for the row
    with psycopg.connect(admin.info.dsn, password=admin.info.password) as sitting:
        sitting.execute("select 1 from lockprovider.lock where lock_name = 'y' for update")
        revoker = threading.Thread(target=revoke_when_it_waits)
        with pytest.raises(LeaseLost):
            with quick.hold("x"):
                revoker.start()
                quick.try_acquire("y")
        revoker.join()
        assert quick.leases("x") == []
    assert quick.try_acquire("x")
