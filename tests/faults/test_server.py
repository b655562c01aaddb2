# ruff: noqa: PT012  (it is the end of a longer block that raises)
"""The server itself goes away: restarts, crashes, and a standby that answers in its place."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from airflow_lockprovider.lease import (
    Keeper,
    LeaseEngine,
    LeaseLost,
    LeaseSettings,
    StoreUnavailable,
    connect,
)
from airflow_lockprovider.lease.store import Store
from tests.faults.server import Server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    folder = tempfile.mkdtemp(prefix="lockprovider-faults-")
    try:
        with Server(folder) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def engine(server: Server) -> Iterator[LeaseEngine]:
    engine = connect(server.dsn(), settings=LeaseSettings(ttl=60))
    engine.init_schema()
    yield engine
    engine.close()


def test_a_restart_while_holding_is_no_loss_and_tokens_still_grow(server: Server, engine: LeaseEngine) -> None:
    lease, losses = engine.try_acquire("restarted", "me", ttl=4), []
    renewed = threading.Event()
    keeping = connect(server.dsn(), settings=LeaseSettings(ttl=4, renew_every=0.1))
    with Keeper(keeping, lease, losses.append) as keeper:
        server.stop()
        with pytest.raises(StoreUnavailable):
            engine.try_acquire("restarted")
        server.start()
        back = keeper.lease.expires_at
        for _ in range(300):
            if keeper.lease.expires_at > back:
                renewed.set()
                break
            renewed.wait(0.01)
    assert renewed.is_set()
    assert losses == []
    assert not engine.try_acquire("restarted", "newcomer")
    assert engine.release(lease)
    assert engine.try_acquire("restarted", "newcomer").token > lease.token


def test_what_was_granted_or_taken_away_survives_a_crash_of_the_server(server: Server, engine: LeaseEngine) -> None:
    """The server runs with synchronous_commit=off: it would lose a few commits, if the verbs did not insist."""
    released = engine.try_acquire("given back")
    engine.release(released)
    lease = engine.try_acquire("crashed", "me")
    server.crash()
    server.start()
    assert [one.token for one in engine.leases("crashed")] == [lease.token]
    assert not engine.try_acquire("crashed", "newcomer")
    assert engine.renew(lease).token == lease.token
    assert engine.try_acquire("given back").token > released.token


def test_a_guarded_transaction_that_a_crash_cut_off_left_nothing(server: Server, engine: LeaseEngine) -> None:
    with psycopg.connect(server.dsn(), autocommit=True) as sql:
        sql.execute("create table cut_off (amount int)")
    lease = engine.try_acquire("guarded", "me")
    with pytest.raises(StoreUnavailable), engine.fenced(lease) as cursor:
        cursor.execute("insert into cut_off values (1)")
        server.crash()
        server.start()
    with psycopg.connect(server.dsn(), autocommit=True) as sql:
        assert sql.execute("select * from cut_off").fetchall() == []
    assert not engine.try_acquire("guarded", "newcomer"), "the lease itself lives on"


def test_a_standby_grants_nothing(server: Server, engine: LeaseEngine) -> None:
    lease = engine.try_acquire("standby", "me")
    server.stop()
    server.become_standby()
    server.start()
    try:
        with pytest.raises(StoreUnavailable, match=r"read-only|in recovery|hot standby"):
            engine.try_acquire("standby", "newcomer")
        # …also if the connection does not ask for a writable server
        plain = LeaseEngine(Store(lambda: psycopg.connect(server.dsn()), schema="lockprovider"))
        for verb in (
            lambda: plain.try_acquire("standby", "newcomer"),
            lambda: plain.renew(lease),
            lambda: plain.release(lease),
            lambda: plain.enqueue("standby", owner_id="newcomer"),
        ):
            with pytest.raises(StoreUnavailable, match=r"in recovery \(a standby\): it grants nothing; point"):
                verb()
        with pytest.raises((StoreUnavailable, LeaseLost)):
            with plain.fenced(lease):
                pytest.fail("a standby guards nothing")
        plain.close()
    finally:
        server.stop()
        Path(server.data_dir / "cluster" / "standby.signal").unlink()
        server.start()
    assert engine.renew(lease).token == lease.token
