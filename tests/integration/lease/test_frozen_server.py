"""A database that does not answer keeps nobody for ever, and a keeper says in time how it stands."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from airflow_lockprovider.demo.postgres import EmbeddedPostgres
from airflow_lockprovider.lease import Keeper, LeaseLost, LeaseSettings, StoreUnavailable, connect
from airflow_lockprovider.lease.engine import LeaseEngine


@pytest.fixture
def sleeping(database: str, monkeypatch: pytest.MonkeyPatch) -> LeaseEngine:
    """An engine with a call that hangs, as all calls do on a frozen server."""
    engine = connect(database)
    engine.init_schema()
    monkeypatch.setitem(engine.store.sql._calls, "hang", "select pg_sleep(60)")
    return engine


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_call_without_an_answer_is_cut_and_the_next_one_works(
    sleeping: LeaseEngine, database: str, driver: str
) -> None:
    module = pytest.importorskip(driver)
    sleeping.store._connect = lambda: module.connect(database)
    sleeping.close()
    lease = sleeping.try_acquire("x")
    sleeping.limit_calls(0.3)
    started = time.monotonic()
    with pytest.raises(StoreUnavailable):
        sleeping.store.call("hang")
    assert time.monotonic() - started < 20
    assert sleeping.renew(lease)
    sleeping.close()


def test_calls_of_other_threads_have_their_own_limit(sleeping: LeaseEngine) -> None:
    sleeping.limit_calls(0.1)
    answers = []
    sleeping.store.sql._calls["nap"] = "select 1 as one from pg_sleep(0.6)"
    thread = threading.Thread(target=lambda: answers.append(sleeping.store.call("nap")))
    thread.start()
    thread.join()
    del sleeping.store.sql._calls["nap"]
    assert answers == [[{"one": 1}]]


def test_the_watchdog_of_a_forked_process_is_its_own(sleeping: LeaseEngine) -> None:
    assert sleeping.try_acquire("x")  # its thread runs in the parent alone
    child = os.fork()
    if not child:
        code = 1
        try:
            sleeping.limit_calls(0.3)
            sleeping.store.call("hang")
        except StoreUnavailable:
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_frozen_server_is_told_as_danger_and_then_as_loss(tmp_path: Path) -> None:
    """The whole server stands still (SIGSTOP): nothing answers, nothing is refused either."""
    told: list[str] = []
    lost = threading.Event()

    def on_lost(error: LeaseLost) -> None:
        told.append("lost")
        lost.set()

    with EmbeddedPostgres(tmp_path / "postgres") as server:
        dsn = server.create_database("frozen")
        engine = connect(dsn, settings=LeaseSettings(ttl=3, renew_every=0.5))
        engine.init_schema()
        lease = engine.try_acquire("x")
        backends = [row["pid"] for row in _pids(engine)]
        keeper = Keeper(engine, lease, on_lost, on_danger=lambda left: told.append(f"danger {left > 0}"))
        with keeper:
            for pid in backends:
                os.kill(pid, signal.SIGSTOP)
            try:
                assert lost.wait(20)
            finally:
                for pid in backends:
                    os.kill(pid, signal.SIGCONT)
        assert told == ["danger True", "lost"]
        engine.close()


def _pids(engine: LeaseEngine) -> list[dict[str, int]]:
    """The postmaster: no new connection is served while it stands still. And all that serve now."""
    connection = engine.store._connection()
    postmaster = int(
        Path(connection.execute("show data_directory").fetchone()[0], "postmaster.pid").read_text().split()[0]
    )
    return [{"pid": postmaster}]


def test_a_lease_is_kept_while_the_main_thread_computes(database: str) -> None:
    """Pure computing, no input or output: the keeper's thread gets its turns all the same."""
    engine = connect(database, settings=LeaseSettings(ttl=1, renew_every=0.2))
    engine.init_schema()
    with engine.hold("x") as lease:
        first = lease.trusted_until
        sums = 0
        while engine.clock() < first + 1:  # twice the ttl, counted from before the grant
            sums += sum(number * number for number in range(1000))
        assert [one.token for one in engine.leases("x")] == [lease.token]
    engine.close()
