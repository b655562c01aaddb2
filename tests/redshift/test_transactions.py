"""What every transaction of the dialect keeps to. In Redshift mode; nothing here has run on a real cluster."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from airflow_lockprovider.lease import (
    ConfigurationError,
    LeaseEngine,
    LeaseLost,
    Lock,
    SchemaOutdated,
    StoreUnavailable,
    connect,
)
from airflow_lockprovider.lease.driver import classify
from airflow_lockprovider.lease.errors import StoreError
from airflow_lockprovider.lease.redshift.conflict import is_conflict, is_timeout
from airflow_lockprovider.lease.redshift.desk import TRIES
from airflow_lockprovider.lease.redshift.session import Session, bind
from tests.conformance.dialects import Redshift


def test_the_mutex_is_locked_alone_and_before_the_first_read(engine: LeaseEngine, sent: list[str]) -> None:
    engine.try_acquire("x")
    del sent[:]
    engine.try_acquire("x")
    assert sent[:3] == ["begin", "lock_mutex", "moment"]
    assert sent[-1] == "commit"


def test_a_grant_over_a_dead_lease_takes_the_fence_and_then_the_mutex(engine: LeaseEngine, sent: list[str]) -> None:
    engine.release(engine.try_acquire("x"))
    del sent[:]
    assert engine.try_acquire("x")
    last = sent[len(sent) - sent[::-1].index("begin") - 2 :]
    assert last[:5] == ["brief", "begin", "lock_fence", "patient", "lock_mutex"]


def test_many_renewals_are_one_commit_and_one_update_for_each_ttl(engine: LeaseEngine, sent: list[str]) -> None:
    leases = [engine.try_acquire(f"lock {number}", ttl=[60, 120][number % 2]) for number in range(6)]
    del sent[:]
    assert {one.outcome for one in engine.renew_many(leases)} == {"renewed"}
    assert sent.count("commit") == 1
    assert sent.count("renewed") == 2
    assert "lock_fence" not in sent


def test_a_poll_writes_only_when_its_sign_of_life_has_grown_old(engine: LeaseEngine, sent: list[str]) -> None:
    ticket = engine.enqueue("x", owner_id="me")
    engine.poll("a process", [ticket.number])
    del sent[:]
    engine.poll("a process", [ticket.number])
    assert "lock_mutex" not in sent


CONFLICTS = [
    "1023 DETAIL:  Serializable isolation violation on table - 123, transactions forming the cycle are: 1, 2 (pid:3)",
    "could not complete because of conflict with concurrent transaction",
    "could not serialize access due to concurrent update",
]


@pytest.mark.parametrize("text", CONFLICTS)
@pytest.mark.parametrize("where", ["commit", "new_lease", "lock_mutex"])
def test_a_conflict_is_tried_again(engine: LeaseEngine, monkeypatch: pytest.MonkeyPatch, text: str, where: str) -> None:
    left = [2]
    run = Session.run

    def failing(self: Session, name: str, **params: Any) -> Any:
        if name == where and left[0]:
            left[0] -= 1
            raise StoreError(text)
        return run(self, name, **params)

    monkeypatch.setattr(Session, "run", failing)
    lease = engine.try_acquire("x")
    assert left == [0]
    assert [one.token for one in engine.leases("x")] == [lease.token], "once, not three times"
    assert [one.event for one in engine.history("x")] == ["granted"]


def test_conflicts_without_end_are_the_databases_trouble_and_no_loss(
    engine: LeaseEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = engine.try_acquire("x")
    tries = []
    run = Session.run
    monkeypatch.setattr(random, "uniform", lambda low, high: low)  # no pauses

    def failing(self: Session, name: str, **params: Any) -> Any:
        if name == "commit":
            tries.append(name)
            raise StoreError(CONFLICTS[0])
        return run(self, name, **params)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "run", failing)
        with pytest.raises(StoreUnavailable, match="8 tries in a row lost"):
            engine.renew(lease)
    assert len(tries) == TRIES
    assert engine.renew(lease).token == lease.token


def test_what_is_no_conflict_is_not_tried_again(engine: LeaseEngine, sent: list[str]) -> None:
    engine.try_acquire("x")
    del sent[:]
    with pytest.raises(ConfigurationError):
        engine.try_acquire("x", capacity=5)
    assert sent.count("begin") == 1
    assert not is_conflict(StoreError("relation 1023456 does not exist"))
    assert is_timeout(StoreError("Query (12) cancelled on user's request"))


def test_errors_of_redshift_connector_are_read_from_the_fields_of_the_message() -> None:
    class Error(Exception): ...

    class DatabaseError(Error): ...

    class ProgrammingError(DatabaseError): ...

    found = classify(
        ProgrammingError({"S": "ERROR", "C": "XX000", "M": "1023", "D": "Serializable isolation violation"})
    )
    assert isinstance(found, StoreError)
    assert is_conflict(found)
    missing = classify(
        ProgrammingError({"S": "ERROR", "C": "42P01", "M": 'relation "lockprovider.mutex" does not exist'})
    )
    assert isinstance(missing, SchemaOutdated)
    assert isinstance(classify(ProgrammingError({"C": "57014", "M": "cancelled"})), StoreUnavailable)


def test_a_row_that_is_there_twice_grants_nothing(redshift: Redshift, engine: LeaseEngine) -> None:
    """Nothing enforces keys. So it is looked at, each time."""
    lease = engine.try_acquire("x")
    redshift.query('insert into lockprovider."lock" select * from lockprovider."lock"')
    for verb in (lambda: engine.try_acquire("x"), lambda: engine.renew(lease), lambda: engine.release(lease)):
        with pytest.raises(StoreError, match=r"has a row twice.*without LOCK mutex"):
            verb()


def test_who_stops_while_holding_the_mutex_delays_others_only_until_their_timeout(
    redshift: Redshift, engine: LeaseEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = engine.try_acquire("x")
    monkeypatch.setitem(engine.store.sql._calls, "patient", "set statement_timeout to 200")
    other = redshift.engine()
    with psycopg.connect(redshift.dsn) as stopped:
        stopped.execute("lock lockprovider.mutex")
        with pytest.raises(StoreUnavailable, match="statement timeout"):
            other.renew(lease)
        assert [one.token for one in other.leases("x")] == [lease.token], "looking takes no lock"
    assert other.renew(lease)
    other.close()


def test_an_expired_lease_is_over_for_its_owner_a_second_before_it_is_free(
    redshift: Redshift, engine: LeaseEngine
) -> None:
    """GETDATE has whole seconds: it may be up to a second behind the clock that the owner counts with."""

    def clock(seconds: int) -> None:
        moment = f"timestamp '2030-01-01' + {seconds} * interval '1 second'"
        redshift.query(f"create or replace function getdate() returns timestamp language sql as $$ select {moment} $$")

    clock(0)
    lease = engine.try_acquire("x", "me", ttl=60)
    clock(59)
    assert engine.renew(lease, ttl=1)
    clock(60)
    with pytest.raises(LeaseLost):
        engine.renew(lease)
    assert engine.leases("x") == []
    assert not engine.try_acquire("x", "next")
    assert not engine.try_acquire("x", "me")
    clock(61)
    assert engine.try_acquire("x", "next").token > lease.token


def test_what_is_held_at_least_for_a_while_is_free_after_it(redshift: Redshift, engine: LeaseEngine) -> None:
    lease = engine.try_acquire(Lock("x", hold_at_least=300))
    engine.release(lease)
    assert not engine.try_acquire("x")
    redshift.query("update lockprovider.lease set hold_until = getdate() - interval '1 second'")
    assert engine.try_acquire("x").token > lease.token


def test_times_are_utc_whatever_the_servers_zone_is(redshift: Redshift) -> None:
    name = redshift.query("select current_database()")[0]
    redshift.query(f"alter database {name} set timezone = 'Asia/Tokyo'")
    engine = redshift.engine()
    lease = engine.try_acquire("x", ttl=60)
    with engine.store.transaction() as connection:
        cursor = connection.cursor()
        cursor.execute("show timezone")
        assert cursor.fetchone() == ("UTC",)
    assert lease.created_at.utcoffset().total_seconds() == 0
    assert engine.renew(lease).remaining == 60


def test_two_may_install_at_the_same_moment_and_again_later(database: str) -> None:
    made = Redshift(database)
    start = threading.Barrier(3)

    def install(_: int) -> bool:
        engine = made.engine()
        start.wait()
        return engine.init_schema()

    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(install, range(3))) == [False, False, True]
    assert made.engine().init_schema() is False
    made.close()


def test_missing_tables_and_foreign_schemas_are_named(database: str) -> None:
    made = Redshift(database)
    with pytest.raises(SchemaOutdated, match="airflow locks init"):
        made.engine().try_acquire("x")
    made.query("create schema lockprovider")
    made.query("create table lockprovider.lease (a int)")
    with pytest.raises(ConfigurationError, match="in use by something else"):
        made.engine().init_schema()
    assert made.query("select count(*) from pg_tables where schemaname = 'lockprovider' and tablename = 'waiter'") == [
        0
    ]
    made.close()


def test_new_views_are_made_by_an_upgrade(redshift: Redshift) -> None:
    redshift.query("update lockprovider.redshift_version set digest = 'an older one'")
    assert redshift.engine().init_schema() is True
    assert redshift.engine().init_schema() is False


def test_people_read_the_views(redshift: Redshift, engine: LeaseEngine) -> None:
    lease = engine.try_acquire("x", owner="ann's job", ttl=60)
    engine.enqueue("x", owner_id="next")
    rows = redshift.query("select row_to_json(l) from lockprovider.locks l")
    assert (rows[0]["owner"], rows[0]["held"], rows[0]["waiters"]) == ("ann's job", True, 1)
    assert 58 <= rows[0]["expires_in"] <= 60
    queue = redshift.query("select row_to_json(q) from lockprovider.lock_queue q")
    assert (queue[0]["owner_id"], queue[0]["position"]) == ("next", 1)
    engine.release(lease)
    stats = redshift.query("select row_to_json(s) from lockprovider.lock_stats s")
    assert (stats[0]["grants"], stats[0]["expired"]) == (1, 0)
    assert redshift.query("select grants from lockprovider.lock_owners where owner = 'ann''s job'") == [1]


def test_redshift_connector_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "redshift_connector", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'airflow-lockprovider\[redshift\]'"):
        connect("redshift://me:secret@cluster:5439/dev", dialect="redshift").try_acquire("x")


def test_an_unknown_dialect_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="dialect='mysql' is unknown: use 'postgres' or 'redshift'"):
        connect("x", dialect="mysql")


def test_lists_stand_for_several_values_and_other_names_for_one() -> None:
    assert bind("a in (%(a)s) and b = %(b)s", {"a": [1, 2], "b": 3}) == ("a in (%s, %s) and b = %s", [1, 2, 3])
    assert bind("a in (%(a)s)", {"a": []}) == ("a in (null)", [])
