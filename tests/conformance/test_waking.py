"""Who waits is woken up; a notification that gets lost costs one poll."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from airflow_lockprovider.lease import LeaseEngine, Lock
from airflow_lockprovider.lease.clock import boottime
from tests.conformance.dialects import Dialect

LONG = 8.0
"""A poll interval that no test waits for: who comes earlier was woken up."""


@pytest.fixture
def _listens(engine: LeaseEngine) -> None:
    if not engine.store.listens:
        pytest.skip("this dialect has no notifications")


@pytest.fixture
def apart() -> Iterator[Callable[..., Future[Any]]]:
    """Runs a call in a thread of its own."""
    with ThreadPoolExecutor(4) as pool:
        yield pool.submit


def _until(condition: Callable[[], object]) -> None:
    for _ in range(400):
        if condition():
            return
        time.sleep(0.02)
    pytest.fail("it did not come to pass")


def _resting(dialect: Dialect) -> LeaseEngine:
    """An engine that has long given up to look often: its clock runs a thousand times as fast."""
    engine = dialect.engine(poll_interval=LONG)
    engine.clock = lambda: boottime() * 1000
    return engine


def _change(engine: LeaseEngine, how: str, held: Any) -> None:
    match how:
        case "release":
            engine.release(held)
        case "revoke":
            engine.revoke("x", by="ann", reason="stuck")
        case "grow":
            engine.set_capacity("x", 2)
        case "resume":
            engine.release(held)
            engine.resume("x", by="ann")


@pytest.mark.usefixtures("_listens")
@pytest.mark.parametrize("how", ["release", "revoke", "grow", "resume"])
def test_a_waiter_is_woken_by_whatever_may_let_it_in(
    dialect: Dialect, engine: LeaseEngine, apart: Callable[..., Future[Any]], how: str
) -> None:
    held = engine.try_acquire("x")
    if how == "resume":
        engine.pause("x", by="ann", reason="test")
    answer = apart(_resting(dialect).acquire, "x", None)
    _until(lambda: engine.queue("x"))
    time.sleep(0.2)  # it has looked, and rests now
    sent = time.monotonic()
    _change(engine, how, held)
    assert answer.result(LONG)
    assert time.monotonic() - sent < LONG / 2


@pytest.mark.usefixtures("_listens")
def test_the_next_in_line_is_woken_when_there_is_room_for_both(
    dialect: Dialect, engine: LeaseEngine, apart: Callable[..., Future[Any]]
) -> None:
    engine.set_capacity("x", 2)
    held = engine.try_acquire("x", units=2)
    one, two = (apart(_resting(dialect).acquire, "x", None) for _ in range(2))
    _until(lambda: len(engine.queue("x")) == 2)
    time.sleep(0.2)  # both have looked, and rest now
    sent = time.monotonic()
    engine.release(held)
    assert one.result(LONG)
    assert two.result(LONG)
    assert time.monotonic() - sent < LONG / 2


def test_a_lost_notification_costs_one_poll(
    dialect: Dialect, engine: LeaseEngine, apart: Callable[..., Future[Any]]
) -> None:
    held = engine.try_acquire("x")
    waiting = dialect.engine(poll_interval=0.2)
    answer = apart(waiting.acquire, "x")
    _until(lambda: engine.queue("x"))
    dialect.expire(held)  # nobody tells of that
    assert answer.result(LONG)


def test_waiting_works_without_notifications(
    dialect: Dialect, engine: LeaseEngine, apart: Callable[..., Future[Any]]
) -> None:
    held = engine.try_acquire("x")
    answer = apart(dialect.engine(poll_interval=0.1, listen=False).acquire, "x")
    _until(lambda: engine.queue("x"))
    engine.release(held)
    assert answer.result(LONG)


@pytest.mark.usefixtures("_listens")
def test_where_listen_is_refused_polling_goes_on(
    dialect: Dialect, engine: LeaseEngine, apart: Callable[..., Future[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = engine.try_acquire("x")
    ticket = engine.enqueue("x", owner_id="waiter")
    waiting = dialect.engine(poll_interval=0.1)
    call = waiting.store.call

    def refuse(name: str, **params: Any) -> Any:
        return call("holders_of_a_pooler" if name == "listen" else name, **params)

    monkeypatch.setitem(waiting.store.sql._calls, "holders_of_a_pooler", "listen nothing, really")
    monkeypatch.setattr(waiting.store, "call", refuse)
    answer = apart(waiting.stand_by, ticket.number, "waiter", LONG)
    engine.release(held)
    assert answer.result(LONG)


@pytest.mark.usefixtures("_listens")
def test_a_connection_that_breaks_while_waiting_is_replaced(
    dialect: Any, engine: LeaseEngine, apart: Callable[..., Future[Any]]
) -> None:
    held = engine.try_acquire("x")
    waiting = dialect.engine(poll_interval=0.5)
    backend = (
        "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        " and query like '%confirm%'"
    )
    answer = apart(waiting.acquire, "x")
    _until(lambda: engine.queue("x"))
    time.sleep(0.2)  # it rests now
    assert dialect.query(f"select pg_terminate_backend(pid) from ({backend}) b")
    engine.release(held)
    assert answer.result(LONG)


@pytest.mark.usefixtures("_listens")
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_both_drivers_hear(dialect: Any, engine: LeaseEngine, apart: Callable[..., Future[Any]], driver: str) -> None:
    module = pytest.importorskip(driver)
    waiting = _resting(dialect)
    waiting.store._connect = lambda: module.connect(dialect.dsn)
    held = engine.try_acquire("x")
    answer = apart(waiting.acquire, "x", None)
    _until(lambda: engine.queue("x"))
    time.sleep(0.2)  # it has looked, and rests now
    sent = time.monotonic()
    engine.release(held)
    assert answer.result(LONG)
    assert time.monotonic() - sent < LONG / 2


@pytest.mark.usefixtures("_listens")
def test_a_release_that_saw_no_waiter_is_noticed_long_before_the_poll(
    dialect: Any, engine: LeaseEngine, apart: Callable[..., Future[Any]]
) -> None:
    """It was under way when the ticket was drawn: it told nobody, and its end was not to be seen yet."""
    held = engine.try_acquire("x")
    with psycopg.connect(dialect.dsn) as releasing:
        releasing.execute("select lockprovider.release(%s, %s, %s)", ("x", held.token, held.owner_id))
        answer = apart(dialect.engine(poll_interval=LONG).acquire, "x")
        _until(lambda: engine.queue("x"))
        time.sleep(0.1)  # it has looked: busy
        assert not answer.done()
        sent = time.monotonic()
        releasing.commit()
    assert answer.result(LONG)
    assert time.monotonic() - sent < LONG / 2


@pytest.mark.usefixtures("_listens")
def test_nobody_listens_after_the_wait(dialect: Dialect, engine: LeaseEngine) -> None:
    """A connection that listens and is never read would pile up notifications in the server."""
    held = engine.try_acquire("x")
    waiting = dialect.engine(poll_interval=0.1)
    timer = threading.Timer(0.3, lambda: engine.release(held))
    timer.start()
    waiting.acquire("x")
    timer.join()
    assert waiting.store._connection().execute("select pg_listening_channels()").fetchall() == []


@pytest.mark.usefixtures("_listens")
@pytest.mark.parametrize(
    ("shared", "capacity", "turn"), [(False, 1, [0]), (False, 2, [0, 1]), (True, 1, [0, 1, 2])],
    ids=["one unit", "two units", "readers"],
)  # fmt: skip
def test_a_release_calls_only_those_whose_turn_it_may_be(
    dialect: Dialect, engine: LeaseEngine, shared: bool, capacity: int, turn: list[int]
) -> None:
    """Else all come running, and the first one has to wait for the rest."""
    assert engine.try_acquire("a mutex beside it")
    holders = [engine.try_acquire(Lock("x", capacity=capacity)) for _ in range(capacity)]
    tickets = [engine.enqueue("x", owner_id=f"waiter {n}", shared=shared).number for n in range(3)]
    with psycopg.connect(dialect.dsn, autocommit=True) as listening:
        listening.execute("listen lockprovider")
        for holder in holders:
            engine.release(holder)
        heard = [notice.payload for notice in listening.notifies(timeout=10, stop_after=capacity)]
    assert heard[-1] == "x\n" + ",".join(str(tickets[place]) for place in turn)


@pytest.mark.usefixtures("_listens")
@pytest.mark.parametrize("capacity", [1, 2])
def test_a_release_calls_by_priority_before_it_calls_by_ticket(
    dialect: Dialect, engine: LeaseEngine, capacity: int
) -> None:
    holders = [engine.try_acquire(Lock("x", capacity=capacity)) for _ in range(capacity)]
    _low, *high = (engine.enqueue("x", owner_id=f"priority {n}", priority=n).number for n in range(capacity + 1))
    with psycopg.connect(dialect.dsn, autocommit=True) as listening:
        listening.execute("listen lockprovider")
        for holder in holders:
            engine.release(holder)
        heard = [notice.payload for notice in listening.notifies(timeout=10, stop_after=capacity)]
    assert heard[-1] == "x\n" + ",".join(str(ticket) for ticket in reversed(high))


@pytest.mark.usefixtures("_listens")
def test_nobody_is_called_for_a_lock_that_nobody_waits_for(dialect: Dialect, engine: LeaseEngine) -> None:
    engine.release(engine.try_acquire("x"))
    ticket = engine.enqueue("y", owner_id="waits for another").number
    with psycopg.connect(dialect.dsn, autocommit=True) as listening:
        listening.execute("listen lockprovider")
        engine.set_capacity("x", 2)
        engine.set_capacity("y", 2)
        heard = [notice.payload for notice in listening.notifies(timeout=10, stop_after=1)]
    assert heard == [f"y\n{ticket}"]


@pytest.mark.usefixtures("_listens")
def test_a_grant_calls_the_next_of_its_own_lock_if_there_is_room_and_nobody_of_another(
    dialect: Dialect, engine: LeaseEngine
) -> None:
    assert engine.try_acquire(Lock("y", capacity=2))
    engine.enqueue("y", owner_id="waits for y")
    engine.release(engine.try_acquire(Lock("x", capacity=2)))
    first, second = (engine.enqueue("x", owner_id=owner) for owner in ("first", "second"))
    with psycopg.connect(dialect.dsn, autocommit=True) as listening:
        listening.execute("listen lockprovider")
        assert engine.confirm(first.number, first.owner_id)
        heard = [notice.payload for notice in listening.notifies(timeout=1, stop_after=2)]
    assert heard == [f"x\n{second.number}"]


@pytest.mark.usefixtures("_listens")
def test_who_let_a_reservation_lapse_is_called_again(dialect: Dialect, engine: LeaseEngine) -> None:
    ticket = engine.enqueue("x", owner_id="late").number
    dialect.expire(engine.reserve(ticket))
    with psycopg.connect(dialect.dsn, autocommit=True) as listening:
        listening.execute("listen lockprovider")
        engine.set_capacity("x", 2)
        (heard,) = listening.notifies(timeout=10, stop_after=1)
    assert heard.payload == f"x\n{ticket}"


@pytest.mark.usefixtures("_listens")
def test_who_stands_further_back_sleeps_on_when_it_is_somebody_elses_turn(engine: LeaseEngine) -> None:
    holder = engine.try_acquire("x")
    first, second = (engine.enqueue("x", owner_id=owner).number for owner in ("first", "second"))
    listener = engine.listener()
    listener.start()
    engine.release(holder)
    assert not listener.wait(0.3, ["x"], second)
    lease = engine.confirm(first, "first")
    engine.release(lease)
    assert listener.wait(5, ["x"], second)
    listener.close()
