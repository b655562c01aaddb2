"""The guard on Redshift: two statements. In Redshift mode; nothing here has run on a real cluster."""

from __future__ import annotations

import threading
import time

import psycopg
import psycopg2
import pytest
from airflow.providers.common.sql.hooks.sql import DbApiHook

from airflow_lockprovider.lease import LeaseEngine, LeaseLost
from tests.conformance.dialects import Redshift


@pytest.fixture(autouse=True)
def _sales(redshift: Redshift) -> None:
    redshift.query("create table public.sales (amount int)")


def _statements(guard: str) -> list[str]:
    return DbApiHook.split_sql_string(f"{guard};\ninsert into public.sales values (1)")


@pytest.mark.parametrize("name", ["x", "o'hara; drop", "100%", "back\\slash", "naïve 🔒"])
@pytest.mark.parametrize("module", [psycopg, psycopg2])
def test_the_guards_text_works_in_a_list_of_statements(
    redshift: Redshift, engine: LeaseEngine, module: object, name: str
) -> None:
    lease = engine.try_acquire(name)
    connection = module.connect(redshift.dsn)  # type: ignore[attr-defined]
    try:
        for text in _statements(lease.guard):
            connection.cursor().execute(text)
        connection.commit()
        assert redshift.query("select amount from public.sales") == [1]
        engine.release(lease)
        lock, check, _ = _statements(lease.guard)
        connection.cursor().execute(lock)
        with pytest.raises(module.Error, match=f"the lease is lost, token {lease.token}"):  # type: ignore[attr-defined]
            connection.cursor().execute(check)
    finally:
        connection.close()


def test_it_is_two_statements_the_fence_first(engine: LeaseEngine) -> None:
    guard = engine.try_acquire("x\u2028y").guard
    texts = _statements(guard)
    assert [text.split()[0] for text in texts] == ["lock", "select", "insert"]
    assert [text.rstrip(";") for text in guard.split("\n")] == [text.rstrip(";") for text in texts[:2]], (
        "as the docs say"
    )


def test_the_guard_of_a_set_locks_all_fences_before_the_first_look(redshift: Redshift, engine: LeaseEngine) -> None:
    both = engine.try_acquire(["a", "b"])
    texts = _statements(both.guard)
    assert [text.split()[0] for text in texts] == ["lock", "lock", "select", "select", "insert"]
    assert texts[:2] == sorted(texts[:2])
    with psycopg.connect(redshift.dsn) as connection:
        for text in texts:
            connection.execute(text)
    assert redshift.query("select amount from public.sales") == [1]


def test_sent_one_by_one_in_autocommit_it_is_refused_by_the_server(redshift: Redshift, engine: LeaseEngine) -> None:
    lease = engine.try_acquire("x")
    with psycopg.connect(redshift.dsn, autocommit=True) as connection:
        with pytest.raises(psycopg.Error, match="can only be used in transaction blocks"):
            connection.execute(_statements(lease.guard)[0])


def test_a_long_guarded_load_stops_no_renewal_and_no_other_lock(redshift: Redshift, engine: LeaseEngine) -> None:
    """Also with a grant of the same lock waiting for its fence meanwhile."""
    mine, other = engine.try_acquire("mine", ttl=60), engine.try_acquire("other", ttl=60)
    second = redshift.engine()
    third = redshift.engine()
    stop = threading.Event()

    def want() -> None:
        while not stop.is_set():
            assert not third.try_acquire("mine", "somebody")
        third.close()

    wanting = threading.Thread(target=want)
    with engine.fenced(mine) as cursor:
        cursor.execute("insert into public.sales values (1)")
        wanting.start()
        began = time.monotonic()
        for _ in range(10):
            assert [one.outcome for one in second.renew_many([mine, other])] == ["renewed", "renewed"]
            assert second.release(second.try_acquire("third"))
            assert second.try_acquire("third")
            second.revoke("third", by="ann", reason="test")
        spent = time.monotonic() - began
        stop.set()
    wanting.join()
    assert spent < 10, "nobody waited for the fence"
    assert redshift.query("select amount from public.sales") == [1]


def test_a_guard_that_waited_for_the_fence_sees_what_happened_meanwhile(
    redshift: Redshift, engine: LeaseEngine
) -> None:
    """The reason for LOCK as a statement of its own: a snapshot from before the wait would say that all is well."""
    lease = engine.try_acquire("x", "late")
    fence, check, write = _statements(lease.guard)
    late = psycopg.connect(redshift.dsn)
    passed: list[str] = []

    def guarded() -> None:
        late.execute(fence)
        try:
            late.execute(check)
            late.execute(write)
            late.commit()
            passed.append("committed")
        except psycopg.Error as error:
            passed.append(str(error))

    with psycopg.connect(redshift.dsn) as holder:
        holder.execute(fence)
        thread = threading.Thread(target=guarded)
        thread.start()
        while not redshift.query("select 1 from pg_locks where not granted"):
            time.sleep(0.01)
        redshift.engine().release(lease)
    thread.join()
    late.close()
    assert "the lease is lost" in passed[0]
    assert redshift.query("select amount from public.sales") == []


def test_a_renewal_during_a_guarded_transaction_counts_at_its_end(redshift: Redshift, engine: LeaseEngine) -> None:
    """Though the transaction's own snapshot still shows the lease as it was."""
    lease = engine.try_acquire("x", ttl=60)
    with engine.fenced(lease) as cursor:
        cursor.execute("insert into public.sales values (1)")
        redshift.engine().renew(lease, ttl=600)
        cursor.execute("select max(ttl) from lockprovider.lease")
        assert cursor.fetchone() == (60.0,), "the stand-in has the snapshots that were meant"
    assert redshift.query("select amount from public.sales") == [1]


def test_a_late_owner_loses_no_update_of_many(redshift: Redshift) -> None:
    """Threads count in one row, each in guarded transactions of its own; some leases are taken away before."""
    redshift.query("create table public.counter (n int)")
    redshift.query("insert into public.counter values (0)")
    counted: list[int] = []

    def work(seed: int) -> None:
        engine = redshift.engine(poll_interval=0.02)
        for turn in range(6):
            lease = engine.acquire("counter", wait_timeout=60)
            if (seed + turn) % 4 == 0:
                engine.revoke("counter", by="ann", reason="test", token=lease.token)
            try:
                with engine.fenced(lease) as cursor:
                    cursor.execute("select n from public.counter")
                    (n,) = cursor.fetchone()
                    cursor.execute("update public.counter set n = %s", (n + 1,))
                counted.append(lease.token)
            except LeaseLost:
                pass
            engine.release(lease)
        engine.close()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(counted) == 18, "six were taken away"
    assert redshift.query("select n from public.counter") == [len(counted)]
