"""On a real cluster, if LOCKPROVIDER_TEST_REDSHIFT holds its DSN (``redshift://user:password@host:5439/db``).

Everything is made in a schema of its own, which is dropped at the end. What is printed (-s) answers the questions that
docs/redshift.md lists as open. Run it under both isolation levels of a database, SERIALIZABLE and SNAPSHOT.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_lockprovider.lease import Lease, LeaseEngine, LeaseLost, connect
from airflow_lockprovider.lease.alert_ledger import AlertLedger
from airflow_lockprovider.lease.redshift.connection import opener
from airflow_lockprovider.lease.redshift.session import Session

DSN = os.environ.get("LOCKPROVIDER_TEST_REDSHIFT", "")

pytestmark = pytest.mark.skipif(
    not DSN, reason="LOCKPROVIDER_TEST_REDSHIFT is not set: nothing has been seen on a real Redshift cluster"
)


@pytest.fixture(scope="module")
def schema() -> Iterator[str]:
    name = f"lockprovider_test_{uuid.uuid4().hex[:8]}"
    connect(DSN, dialect="redshift", schema=name).init_schema()
    yield name
    connection = opener(DSN)()
    connection.autocommit = True
    connection.cursor().execute(f'drop schema "{name}" cascade')
    connection.close()


@pytest.fixture
def new(schema: str) -> Iterator[Callable[[], LeaseEngine]]:
    """Makes engines, each with connections of its own."""
    made: list[LeaseEngine] = []

    def make() -> LeaseEngine:
        made.append(connect(DSN, dialect="redshift", schema=schema))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


@pytest.fixture
def engine(new: Callable[[], LeaseEngine]) -> LeaseEngine:
    return new()


@pytest.fixture
def table(schema: str, engine: LeaseEngine) -> str:
    """A table of the user's own."""
    name = f'"{schema}".counted_{uuid.uuid4().hex[:8]}'
    _run(engine, f"create table {name} (n integer)")
    _run(engine, f"insert into {name} values (0)")
    return name


def _run(engine: LeaseEngine, sql: str) -> list[Any]:
    with engine.store.transaction() as connection:
        return [next(iter(row.values())) for row in Session(connection, engine.store.sql).execute(sql)]


def _name() -> str:
    return f"lock {uuid.uuid4().hex[:8]}"


def test_the_life_of_a_lease(engine: LeaseEngine, new: Callable[[], LeaseEngine]) -> None:
    name = _name()
    lease = engine.try_acquire(name, "me", ttl=60)
    assert isinstance(lease, Lease)
    assert not new().try_acquire(name)
    assert engine.renew(lease, ttl=120).remaining > 115
    ticket = engine.enqueue(name, owner_id="next")
    assert engine.release(lease)
    reserved = engine.reserve(ticket.number)
    held = engine.confirm(ticket.number, "next")
    assert reserved.token == held.token > lease.token
    engine.revoke(name, by="ann", reason="test")
    with pytest.raises(LeaseLost, match="revoked by ann"):
        engine.renew(held)


def test_threads_with_connections_of_their_own_lose_no_update(new: Callable[[], LeaseEngine], table: str) -> None:
    """Recipe 1 of the list: mutual exclusion, one row per grant, tokens that grow."""
    name, tokens, errors = _name(), [], []

    def work() -> None:
        engine = new()
        try:
            for _ in range(5):
                lease = engine.acquire(name, wait_timeout=300)
                with engine.fenced(lease) as cursor:
                    cursor.execute(f"select n from {table}")
                    (n,) = cursor.fetchone()
                    cursor.execute(f"update {table} set n = {n + 1}")
                tokens.append(lease.token)
                engine.release(lease)
        except Exception as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=work) for _ in range(4)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"20 guarded grants by 4 threads: {time.monotonic() - began:.1f} s; errors: {errors}")
    assert not errors
    assert _run(new(), f"select n from {table}") == [20]
    assert tokens == sorted(set(tokens))


def test_failures_that_several_threads_report_are_counted_exactly(new: Callable[[], LeaseEngine]) -> None:
    key, told, errors = f"task/{uuid.uuid4().hex}", [], []

    def work(number: int) -> None:
        ledger = AlertLedger(new().store)
        try:
            told.extend(
                ledger.seen(key, "a", occurrence=f"{number}/{one}", part="é", pauses=[86_400.0])[0] for one in range(5)
            )
        except Exception as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"20 counts of failures by 4 threads: {time.monotonic() - began:.1f} s; errors: {errors}")
    assert not errors
    assert sum(told) == 2, "the first and the tenth"
    ledger = AlertLedger(new().store)
    began = time.monotonic()
    assert ledger.over([f"no {key}"]) == []
    print(f"a success without a trouble: {time.monotonic() - began:.2f} s")
    assert [episode.occurrences for episode in ledger.over([key], part="é")] == [20]
    assert key not in ledger.open()


def test_a_long_guarded_transaction_drains_and_stops_no_renewal(
    engine: LeaseEngine, new: Callable[[], LeaseEngine], table: str
) -> None:
    name, other = _name(), new()
    lease, beside = engine.try_acquire(name, ttl=120), other.try_acquire(_name(), ttl=120)
    with pytest.raises(LeaseLost, match="released"), engine.fenced(lease) as cursor:  # noqa: PT012
        cursor.execute(f"insert into {table} values (1)")
        began = time.monotonic()
        assert {one.outcome for one in other.renew_many([lease, beside])} == {"renewed"}
        print(f"renewal beside a guarded transaction: {time.monotonic() - began:.2f} s")
        other.release(lease)
        began = time.monotonic()
        assert not other.try_acquire(name)
        print(f"an attempt that finds the fence taken: {time.monotonic() - began:.2f} s (statement_timeout 0.25 s)")
    assert other.try_acquire(name)


def test_the_guards_text_refuses_a_late_owner(engine: LeaseEngine, table: str) -> None:
    lease = engine.try_acquire(_name(), ttl=120)
    for late in (False, True):
        with engine.store.transaction() as connection:
            session = Session(connection, engine.store.sql)
            lock, check = lease.guard.split(";\n")
            session.execute(lock)
            if late:
                with pytest.raises(Exception, match=r"(?i)invalid|lost") as caught:
                    session.execute(check)
                print(f"what a refused guard says: {caught.value}")
            else:
                session.execute(check)
        engine.release(lease)


def test_looking_waits_for_nobody_and_the_clock_moves_on_after_a_wait(engine: LeaseEngine, schema: str) -> None:
    connection = opener(DSN)()
    connection.autocommit = True
    session = Session(connection, engine.store.sql)
    session.run("begin")
    session.run("lock_mutex")
    first = session.run("moment")[0]["now"]
    began = time.monotonic()
    engine.leases()
    assert time.monotonic() - began < 5, "readers of the tables are not blocked by the mutex"
    time.sleep(2)
    later = session.run("moment")[0]["now"]
    session.run("rollback")
    connection.close()
    print(f"GETDATE in one transaction, two seconds apart: {first!r} and {later!r}")
    assert later > first, "GETDATE is the start of the statement, not of the transaction"


def test_what_two_updates_of_one_row_say_without_a_lock(engine: LeaseEngine, table: str) -> None:
    """Printed, not asserted: which text and code a conflict has."""
    one, two = opener(DSN)(), opener(DSN)()
    one.cursor().execute(f"update {table} set n = n + 1")
    said: list[str] = []

    def second() -> None:
        try:
            cursor = two.cursor()
            cursor.execute(f"select n from {table}")
            cursor.execute(f"update {table} set n = n + 1")
            two.commit()
            said.append("no conflict")
        except Exception as error:
            said.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=second)
    thread.start()
    time.sleep(2)
    one.commit()
    thread.join(60)
    print(f"two updates of one row: {said}")
    one.close()
    two.close()
