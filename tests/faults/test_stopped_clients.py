"""A client may stop anywhere: in the middle of its question, before it reads the answer, inside its transaction.

Others are kept waiting for less than the lock timeout of the verbs (10 s); measured: not at all. And an answer that
got lost is asked for again, and is the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from airflow_lockprovider.lease import Lease, LeaseEngine, LeaseSettings, connect
from airflow_lockprovider.lease.store import Store
from tests.faults.proxy import Proxy

PATIENCE = 3.0
"""Seconds that a bystander's verbs may take together; the lock timeout is 10 s, an undisturbed round takes 0.01 s."""


@dataclass
class Scene:
    """A client behind a proxy, and what it can ask about."""

    engine: LeaseEngine
    proxy: Proxy
    held: Lease
    mine: Lease
    reserved: int
    queued: int


@pytest.fixture
def scene(database: str) -> Iterator[Callable[[], Scene]]:
    """Makes a new client each time: somebody else holds "x" and a few are in line; "mine" is its own."""
    other = connect(database, settings=LeaseSettings())
    other.init_schema()
    other.set_capacity("x", 2)
    proxies: list[Proxy] = []

    def make() -> Scene:
        with psycopg.connect(database, autocommit=True) as sql:
            sql.execute("truncate lockprovider.lease, lockprovider.waiter; update lockprovider.lock set paused = false")
        proxies.append(Proxy(database))
        url = proxies[-1].dsn
        engine = LeaseEngine(Store(lambda: psycopg.connect(url), schema="lockprovider"), LeaseSettings())
        held, mine = other.try_acquire("x", "somebody"), engine.try_acquire("x", "client")
        assert held
        assert mine
        tickets = [other.enqueue("y", owner_id=name).number for name in ("first", "second")]
        assert other.reserve(tickets[0])
        return Scene(engine, proxies[-1], held, mine, tickets[0], tickets[1])

    yield make
    for proxy in proxies:
        proxy.__exit__(None, None, None)
    other.close()


VERBS: dict[str, Callable[[Scene], Any]] = {
    "try_acquire": lambda scene: scene.engine.try_acquire("x", "client", ttl=60),
    "enqueue": lambda scene: scene.engine.enqueue("x", owner_id="waiter"),
    "poll": lambda scene: scene.engine.poll("a process", [scene.reserved, scene.queued]),
    "reserve": lambda scene: scene.engine.reserve(scene.reserved),
    "confirm": lambda scene: scene.engine.confirm(scene.reserved, "first"),
    "withdraw": lambda scene: scene.engine.withdraw(scene.queued, "second"),
    "renew": lambda scene: scene.engine.renew_many([scene.mine]),
    "release": lambda scene: scene.engine.release(scene.mine),
    "revoke": lambda scene: scene.engine.revoke("x", "ann", "test", token=scene.mine.token),
    "pause": lambda scene: scene.engine.pause("x", "ann", "test"),
    "resume": lambda scene: scene.engine.resume("x", "ann"),
    "set_capacity": lambda scene: scene.engine.set_capacity("x", 2),
    "clean_up": lambda scene: scene.engine.clean_up(),
}


def _bystander(database: str, scene: Scene) -> float:
    """What others do with the same locks meanwhile. Returns the seconds that it took."""
    engine = connect(database)
    engine.leases()
    began = time.monotonic()
    for name in ("x", "y"):
        engine.try_acquire(name, "bystander")
        ticket = engine.enqueue(name, owner_id="late bystander")
        engine.poll("another process", [ticket.number])
        engine.reserve(ticket.number)
        engine.withdraw(ticket.number, "late bystander")
    assert engine.renew_many([scene.held])[0].outcome in ("renewed", "lost")
    engine.clean_up()
    took = time.monotonic() - began
    engine.close()
    return took


@pytest.mark.parametrize("verb", VERBS)
def test_a_client_that_stops_in_the_middle_of_a_question_keeps_nobody_waiting(
    database: str, scene: Callable[[], Scene], verb: str
) -> None:
    whole = scene()
    whole.proxy.asked = 0
    VERBS[verb](whole)
    size = whole.proxy.asked
    assert size > 40
    for cut in (1, size // 2, size - 1):
        one = scene()
        one.proxy.stop_after(cut)
        client = threading.Thread(target=_quietly, args=(VERBS[verb], one), daemon=True)
        client.start()
        while one.proxy.asked < cut:
            time.sleep(0.001)
        assert _bystander(database, one) < PATIENCE, f"the client stopped after {cut} of {size} bytes"
        assert client.is_alive(), "it did stop"
        one.proxy.go_on()
        client.join(10)


@pytest.mark.parametrize("verb", VERBS)
def test_a_client_that_sleeps_when_its_answer_comes_keeps_nobody_waiting(
    database: str, scene: Callable[[], Scene], verb: str
) -> None:
    one = scene()
    one.proxy.hold_answers()
    client = threading.Thread(target=_quietly, args=(VERBS[verb], one), daemon=True)
    client.start()
    assert _bystander(database, one) < PATIENCE
    assert client.is_alive(), "it did not hear its answer"
    one.proxy.go_on()
    client.join(10)


def test_a_client_that_stops_inside_a_guarded_transaction_keeps_nobody_waiting(
    database: str, scene: Callable[[], Scene]
) -> None:
    """Its lock is not granted meanwhile, but that is an answer, and comes at once."""
    one = scene()
    with one.engine.fenced(one.mine):
        one.proxy.hold_answers()
        assert _bystander(database, one) < PATIENCE
        one.proxy.go_on()


SAME = {
    "try_acquire": lambda scene: scene.engine.try_acquire("x", "client", ttl=999).token == scene.mine.token,
    "enqueue": lambda scene: scene.engine.enqueue("y", owner_id="second").number == scene.queued,
    "reserve": lambda scene: scene.engine.reserve(scene.reserved).ticket == scene.reserved,
    "confirm": lambda scene: scene.engine.confirm(scene.reserved, "first").state == "held",
    "renew": lambda scene: scene.engine.renew(scene.mine).token == scene.mine.token,
}


@pytest.mark.parametrize("verb", SAME)
def test_a_lost_answer_is_asked_for_again_and_is_the_same(scene: Callable[[], Scene], verb: str) -> None:
    one = scene()
    before = [(lease.lock_name, lease.token) for lease in one.engine.leases()]
    one.proxy.drop_answer()
    assert SAME[verb](one)
    assert one.proxy.dropped(), "the first answer did get lost"
    assert [(lease.lock_name, lease.token) for lease in one.engine.leases()] == before, "and nothing was granted twice"


def test_a_release_whose_answer_got_lost_is_done_once(scene: Callable[[], Scene]) -> None:
    """The second question finds it gone, and says so: that it was given back is what counts."""
    one = scene()
    one.proxy.drop_answer()
    assert one.engine.release(one.mine) is False
    assert one.proxy.dropped()
    released = [event.token for event in one.engine.history("x") if event.event == "released"]
    assert released == [one.mine.token]


def test_a_new_grant_whose_answer_got_lost_is_one_grant_that_lives_no_longer(
    database: str, scene: Callable[[], Scene]
) -> None:
    one = scene()
    one.engine.set_capacity("z", 5)
    one.proxy.drop_answer()
    lease = one.engine.try_acquire("z", "client", ttl=60)
    assert one.proxy.dropped()
    ((created, expires, count),) = _rows(
        database, "select created_at, expires_at, count(*) over () from lockprovider.lease where lock_name = 'z'"
    )
    assert count == 1
    assert lease.expires_at == expires
    assert (expires - created).total_seconds() == pytest.approx(60, abs=0.001)
    assert lease.remaining < 60


def test_tokens_grow_over_a_restored_backup(database: str, scene: Callable[[], Scene]) -> None:
    """The tables as they were long ago: the token comes from the clock at the least."""
    one = scene()
    newest = one.mine.token
    with psycopg.connect(database, autocommit=True) as sql:
        sql.execute("truncate lockprovider.lease; update lockprovider.lock set last_token = 1")
    time.sleep(0.002)  # a restore takes longer than that
    assert one.engine.try_acquire("x", "after the restore").token > newest


def _quietly(verb: Callable[[Scene], Any], scene: Scene) -> None:
    try:
        verb(scene)
    finally:
        scene.engine.close()


def _rows(database: str, query: str) -> list[Any]:
    with psycopg.connect(database) as sql:
        return sql.execute(query).fetchall()  # type: ignore[arg-type]
