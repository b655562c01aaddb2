"""Connections: one per thread, asked once more when one broke, never an answer where there is none."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from airflow_lockprovider.demo.ports import free_port
from airflow_lockprovider.lease import LeaseEngine, StoreUnavailable, connect

Sql = psycopg.Connection[Any]


def _backends(admin: Sql) -> set[int]:
    """Sessions of the engine in this test's database."""
    return {
        row[0]
        for row in admin.execute(
            "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        )
    }


def _in_thread(call: Callable[[], Any]) -> Any:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(call()))
    thread.start()
    thread.join(30)
    return answers[0]


def _wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        threading.Event().wait(0.01)
    pytest.fail("it did not come to pass")


def test_nothing_is_opened_before_the_first_verb(database: str, engine: LeaseEngine, admin: Sql) -> None:
    engine.close()
    _wait_until(lambda: not _backends(admin))
    late = connect(database)
    assert not _backends(admin)
    late.leases()
    assert len(_backends(admin)) == 1
    late.close()


def test_every_thread_has_a_connection_of_its_own_and_it_ends_with_the_thread(
    engine: LeaseEngine, admin: Sql, recwarn: pytest.WarningsRecorder
) -> None:
    engine.leases()
    mine = _backends(admin)
    assert len(mine) == 1

    def other() -> set[int]:
        engine.leases()
        engine.leases()
        return _backends(admin)

    assert len(_in_thread(other) - mine) == 1
    _wait_until(lambda: _backends(admin) == mine)
    assert not [warning for warning in recwarn if issubclass(warning.category, ResourceWarning)]


def test_many_threads_may_use_one_engine(engine: LeaseEngine) -> None:
    won: list[int] = []

    def contend() -> None:
        for _ in range(10):
            if lease := engine.try_acquire("x"):
                won.append(lease.token)
                engine.release(lease)

    threads = [threading.Thread(target=contend) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won
    assert won == sorted(set(won))
    assert engine.leases() == []


def test_a_connection_that_broke_is_replaced_and_the_question_asked_once_more(
    engine: LeaseEngine, admin: Sql, caplog: pytest.LogCaptureFixture
) -> None:
    lease = engine.try_acquire("x", "me")
    before = _backends(admin)
    admin.execute("select pg_terminate_backend(pid, 5000) from unnest(%s) pid", (list(before),))
    with caplog.at_level(logging.INFO, logger="airflow_lockprovider"):
        assert engine.try_acquire("x", "me").token == lease.token
    assert "asking again on a new one" in caplog.text
    assert len(_backends(admin)) == 1
    assert _backends(admin) != before


def test_a_lost_answer_is_asked_for_again_and_gives_the_same_lease(engine: LeaseEngine, admin: Sql) -> None:
    """The verb was done, its answer did not arrive."""
    engine.leases()
    execute, lost = engine.store._call, []

    def lose_the_first_answer(name: str, params: dict[str, Any], **how: Any) -> Any:
        answer = execute(name, params, **how)
        if name == "try_acquire" and not lost:
            lost.append(answer[0]["token"])
            engine.store._local.own.connection.close()
            raise StoreUnavailable("the answer was lost")
        return answer

    engine.store._call = lose_the_first_answer  # type: ignore[method-assign]
    lease = engine.try_acquire("x")
    assert [lease.token] == lost


def test_a_fresh_connection_that_breaks_is_not_tried_again(engine: LeaseEngine, database: str) -> None:
    opened: list[int] = []
    broken = connect(database)
    open_connection = broken.store._connect

    def open_and_break() -> Any:
        opened.append(1)
        connection = open_connection()
        connection.close()
        return connection

    broken.store._connect = open_and_break
    with pytest.raises(StoreUnavailable):
        broken.leases()
    assert len(opened) == 1


def test_a_forked_child_does_not_talk_on_its_parents_connection(engine: LeaseEngine, admin: Sql) -> None:
    lease = engine.try_acquire("x", "parent")
    before = _backends(admin)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            engine.renew(lease)
            engine.close()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert engine.renew(lease).token == lease.token
    assert before <= _backends(admin), "the parent's connection is the one it had"


def test_a_server_that_is_not_there_is_unavailable() -> None:
    engine = connect(f"postgresql://nobody:x@127.0.0.1:{free_port()}/nothing")
    for verb in (lambda: engine.try_acquire("x"), lambda: engine.acquire("x"), engine.leases, engine.init_schema):
        with pytest.raises(StoreUnavailable, match="the database with the locks does not serve"):
            verb()


def test_a_wrong_password_or_database_is_unavailable_and_says_which(database: str) -> None:
    wrong_password = connect(psycopg.conninfo.make_conninfo(database, password="wrong"))
    with pytest.raises(StoreUnavailable, match="password authentication failed"):
        wrong_password.try_acquire("x")
    wrong_database = connect(psycopg.conninfo.make_conninfo(database, dbname="no_such_database"))
    with pytest.raises(StoreUnavailable, match="no_such_database"):
        wrong_database.try_acquire("x")


def test_a_read_only_session_is_refused(database: str, engine: LeaseEngine) -> None:
    read_only = connect(psycopg.conninfo.make_conninfo(database, options="-c default_transaction_read_only=on"))
    with pytest.raises(StoreUnavailable, match="read-only"):
        read_only.try_acquire("x")


def test_an_isolation_that_the_verbs_cannot_work_under_is_refused(database: str, engine: LeaseEngine) -> None:
    options = "-c default_transaction_isolation=serializable"
    strict = connect(psycopg.conninfo.make_conninfo(database, options=options))
    with pytest.raises(Exception, match="locks need READ COMMITTED, this transaction is SERIALIZABLE"):
        strict.try_acquire("x")
    strict.close()


def test_a_decision_that_hangs_is_given_up_and_means_no(database: str, engine: LeaseEngine, admin: Sql) -> None:
    """Somebody sits on the lock's row in a transaction of his own (a person with psql)."""
    lease = engine.try_acquire("x", "holder")
    quick = connect(database)
    quick.leases()
    admin.execute("alter function lockprovider.try_acquire set lock_timeout = '50ms'")  # 10 s, as it is made
    with admin.transaction():
        admin.execute("select 1 from lockprovider.lock where lock_name = 'x' for update")
        assert quick.renew(lease).token == lease.token, "renewals do not need that row"
        assert not quick.try_acquire("x", "newcomer"), "nor does a plain no"
        assert quick.release(lease), "nor do releases"
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            quick.try_acquire("x", "newcomer")
    quick.close()


@pytest.mark.parametrize("row", ["tuple", "dict"])
def test_psycopg2_works_too_whatever_its_cursors_yield(database: str, engine: LeaseEngine, row: str) -> None:
    psycopg2 = pytest.importorskip("psycopg2")
    from psycopg2.extras import RealDictCursor

    from airflow_lockprovider.lease.store import Store

    options = {"cursor_factory": RealDictCursor} if row == "dict" else {}
    old = LeaseEngine(Store(lambda: psycopg2.connect(database, **options), schema="lockprovider"))
    lease = old.try_acquire("x%s", "me", context={"a": [1]})
    assert lease.context == {"a": [1]}
    with old.fenced(lease) as cursor:
        cursor.execute("select 1")
        assert cursor.fetchone() == (1,)
    assert old.poll("a process", []) == []
    assert old.renew(lease).token == engine.leases()[0].token
    assert old.release(lease)
    old.close()
