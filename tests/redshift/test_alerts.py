"""The ledger of alerts in Redshift: answers as on Postgres, under a mutex of its own. In Redshift mode; nothing here
has run on a real cluster.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from airflow_lockprovider.demo.postgres import EmbeddedPostgres
from airflow_lockprovider.lease import LeaseEngine, SchemaOutdated
from airflow_lockprovider.lease.alert_ledger import AlertLedger
from airflow_lockprovider.lease.errors import StoreError
from airflow_lockprovider.lease.redshift.session import Session
from airflow_lockprovider.lease.statements import Statements
from airflow_lockprovider.notifications import AlertNotifier, alert_book
from tests.conformance.dialects import Postgres, Redshift
from tests.redshift.conftest import marked_connection

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


@pytest.fixture
def ledger(engine: LeaseEngine) -> AlertLedger:
    return AlertLedger(engine.store)


@pytest.fixture
def other(postgres: EmbeddedPostgres) -> Iterator[AlertLedger]:
    """The ledger of the dialect "postgres"."""
    made = Postgres(postgres.create_database("alerts_on_postgres", template="template0"))
    engine = made.engine()
    engine.init_schema()
    yield AlertLedger(engine.store)
    made.close()
    postgres.drop_database("alerts_on_postgres")


@pytest.mark.parametrize("seed", range(4))
def test_any_calls_in_any_order_are_answered_as_on_postgres(ledger: AlertLedger, other: AlertLedger, seed: int) -> None:
    chance = random.Random(seed)
    keys, parts, pauses = ["task/a", "task/b", "watch/a"], ["", "0", "1"], [60.0, 300.0, 1800.0]
    second, failures, answered = 0.0, 0, []
    told: list[Any] = []
    for _ in range(250):
        second += chance.choice([0, 0.25, 1, 20, 60, 240, 300, 2000, 90_000])
        at, key, part = after(second), chance.choice(keys), chance.choice(parts)
        both = (ledger, other)
        match chance.choices(["seen", "over", "untold", "due", "open", "quiet"], [8, 4, 2, 2, 1, 1])[0]:
            case "seen":
                # Now and then one that was reported before.
                failures += chance.random() < 0.8
                one = None if chance.random() < 0.3 else f"run {failures}"
                mine, theirs = (
                    book.seen(key, f"{key} at {second}", part=part, occurrence=one, pauses=pauses, at=at)
                    for book in both
                )
                told.append((mine[1], False))
            case "over":
                some = chance.sample(keys, 2)
                gone = chance.choice([part, None])
                mine, theirs = (book.over(some, part=gone, at=at) for book in both)
                told += [(episode, True) for episode in mine]
            case "untold" if told:
                episode, recovered = chance.choice(told[-5:])
                mine, theirs = (book.untold(episode, recovered=recovered, at=at) for book in both)
            case "due":
                prefix = chance.choice(["", "task/", "none/"])
                mine, theirs = (book.due(prefix, pauses=pauses, at=at) for book in both)
            case "quiet":
                mine, theirs = (book.quiet(key, at=at) for book in both)
            case _:
                mine, theirs = (book.open() for book in both)
        assert mine == theirs
        answered.append(mine)
    assert sum(isinstance(one, tuple) and one[0] for one in answered) > 10, "some were told"
    assert sum(isinstance(one, tuple) and not one[0] for one in answered) > 10, "some were not"
    assert sum(isinstance(one, list) and bool(one) for one in answered) > 10, "some were over, due or open"


def test_a_count_locks_its_own_mutex_first_and_never_that_of_the_locks(ledger: AlertLedger, sent: list[str]) -> None:
    assert ledger.seen("a", "a", occurrence="1", at=NOON)[0]
    assert [name for name in sent if name.startswith(("begin", "lock_", "commit"))] == [
        "begin",
        "lock_alert_mutex",
        "commit",
    ]
    assert sent[sent.index("begin") + 1] == "lock_alert_mutex"


def test_no_lock_waits_for_alerts_and_no_alert_for_locks(
    redshift: Redshift, engine: LeaseEngine, ledger: AlertLedger
) -> None:
    with psycopg.connect(redshift.dsn) as storm:
        storm.execute("lock lockprovider.alert_mutex")
        lease = engine.try_acquire("x")
        assert engine.renew(lease)
        assert engine.release(lease)
        assert ledger.open() == []
    with psycopg.connect(redshift.dsn) as load:
        load.execute("lock lockprovider.mutex")
        assert ledger.seen("a", "a", at=NOON)[0]
        assert [one.key for one in ledger.over(["a"], at=after(1))] == ["a"]


def test_a_success_a_second_report_and_a_look_commit_nothing(ledger: AlertLedger, sent: list[str]) -> None:
    ledger.seen("a", "a", occurrence="1", at=NOON)
    del sent[:]
    assert ledger.seen("a", "a", occurrence="1", at=after(1))[0] is False
    assert ledger.over(["b", "c"], at=after(1)) == []
    assert ledger.due(at=after(1)) == []
    assert ledger.open() == ["a"]
    assert ledger.quiet("a", at=after(1)) is not None
    assert "lock_alert_mutex" not in sent
    assert "commit" not in sent


@pytest.mark.parametrize("where", ["commit", "new_alert", "lock_alert_mutex"])
def test_a_count_that_meets_a_conflict_is_made_again_and_counts_once(
    redshift: Redshift, ledger: AlertLedger, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    left = [2]
    run = Session.run

    def failing(self: Session, name: str, **params: Any) -> Any:
        if name == where and left[0]:
            left[0] -= 1
            raise StoreError("1023 DETAIL:  Serializable isolation violation on table - 123")
        return run(self, name, **params)

    monkeypatch.setattr(Session, "run", failing)
    tell, episode = ledger.seen("a", "a", occurrence="1", at=NOON)
    assert left == [0]
    assert (tell, episode.occurrences, episode.told) == (True, 1, 0)
    assert redshift.query("select occurrences from lockprovider.alert") == [1]
    assert redshift.query("select count(*) from lockprovider.alert_occurrence") == [1]


def test_a_trouble_that_is_there_twice_is_named(redshift: Redshift, ledger: AlertLedger) -> None:
    ledger.seen("a", "a", at=NOON)
    redshift.query("insert into lockprovider.alert select * from lockprovider.alert")
    for ask in (lambda: ledger.seen("a", "a"), lambda: ledger.over(["a"]), ledger.open):
        with pytest.raises(StoreError, match=r"alert has a row twice.*without LOCK alert_mutex"):
            ask()


def test_a_database_of_the_first_version_gets_the_ledger_by_an_upgrade_and_keeps_its_locks(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Redshift(database)
    with monkeypatch.context() as before:
        both = Statements.migrations.fget
        assert both is not None
        before.setattr(Statements, "migrations", property(lambda self: both(self)[:1]))
        old = made.engine()
        assert old.init_schema() is True
        lease = old.try_acquire("x", "me", ttl=600)
    new = made.engine()
    with pytest.raises(SchemaOutdated, match="has version 1 of the lock tables, this package needs 2"):
        AlertLedger(new.store).seen("a", "a")
    assert new.init_schema() is True
    assert new.init_schema() is False
    assert new.renew(lease).token == lease.token
    assert AlertLedger(new.store).seen("a", "a")[0]
    made.close()


# With AlertNotifier


@pytest.fixture
def connection(redshift: Redshift, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Postgres connection that is marked as Redshift."""
    from airflow.sdk.execution_time import task_runner

    monkeypatch.delattr(task_runner, "SUPERVISOR_COMMS", raising=False)
    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", marked_connection(redshift, True))


@pytest.fixture
def told() -> list[str]:
    """Subjects of the messages that went out."""
    return []


@pytest.fixture
def alerts(connection: None, told: list[str]) -> AlertNotifier:
    return AlertNotifier(channels=[lambda context: told.append(context["alert"].subject)])


def _context(number: int, state: str = "failed") -> dict[str, Any]:
    one = {"dag_id": "nightly", "run_id": f"run {number}", "task_id": "load", "map_index": -1, "try_number": 1}
    return {"ti": SimpleNamespace(**one, max_tries=0, state=state, id=f"ti {number}"), "exception": None}


def test_failures_are_throttled_and_the_recovery_is_told(alerts: AlertNotifier, told: list[str]) -> None:
    for number in range(5):
        alerts.tell(_context(number), at=after(number))
    alerts.tell(_context(5), at=after(60))
    alerts.tell(_context(5), at=after(200))
    for number in (6, 7):
        alerts.tell(_context(number, "success"), at=after(number + 200))
    assert told == [
        "[Airflow] nightly.load failed",
        "[Airflow] nightly.load failed (5 since 12:00)",
        "[Airflow] RECOVERED: nightly.load works again",
    ]


def test_who_cannot_count_in_time_tells_nobody_if_people_know_and_is_counted_later(
    redshift: Redshift,
    ledger: AlertLedger,
    alerts: AlertNotifier,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a storm the counts queue up behind the mutex: that must not become a storm of messages."""
    alerts.tell(_context(0), at=NOON)
    monkeypatch.setattr(alert_book, "PATIENCE", 0.3)
    monkeypatch.setattr(alert_book, "GLANCE", 20.0)
    with psycopg.connect(redshift.dsn) as storm:
        storm.execute("lock lockprovider.alert_mutex")
        assert alerts.tell(_context(1), at=after(1)).message is None
        unheard = alerts.tell(_context(2), at=after(100))
        assert unheard.sent, "their pause is over, so nobody knows enough"
        assert unheard.message.episode is None
    assert told == ["[Airflow] nightly.load failed"] * 2
    _until(redshift, "select occurrences = 3 from lockprovider.alert")
    assert ledger.open() == ["alerts:task/nightly/load"]


def test_a_count_that_comes_too_late_to_tell_is_due_for_the_next_failure(
    redshift: Redshift, alerts: AlertNotifier, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It claims the message of the tenth, but nobody waits for the answer any more."""
    for number in range(9):
        alerts.tell(_context(number), at=after(number))
    with monkeypatch.context() as patch, psycopg.connect(redshift.dsn) as storm:
        patch.setattr(alert_book, "PATIENCE", 0.3)
        patch.setattr(alert_book, "GLANCE", 20.0)
        storm.execute("lock lockprovider.alert_mutex")
        assert alerts.tell(_context(9), at=after(9)).message is None
    _until(redshift, "select occurrences = 10 and told = 1 and due_at = '2026-11-21 12:01:09' from lockprovider.alert")
    assert alerts.tell(_context(10), at=after(70)).sent
    assert told == ["[Airflow] nightly.load failed", "[Airflow] nightly.load failed (10 since 12:00)"]


def test_an_end_and_a_rest_that_come_too_late_to_be_told_are_told_by_the_next_look(
    redshift: Redshift, alerts: AlertNotifier, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        alerts.tell(_context(number), at=after(number))
    with monkeypatch.context() as patch, psycopg.connect(redshift.dsn) as storm:
        patch.setattr(alert_book, "PATIENCE", 0.3)
        storm.execute("lock lockprovider.alert_mutex")
        assert alerts.send_pending(at=after(60)) == 0
    _until(redshift, "select told = 1 and due_at = '2026-11-21 12:02' from lockprovider.alert")
    assert alerts.send_pending(at=after(119)) == 0
    assert alerts.send_pending(at=after(120)) == 1
    with monkeypatch.context() as patch, psycopg.connect(redshift.dsn) as storm:
        patch.setattr(alert_book, "PATIENCE", 0.3)
        storm.execute("lock lockprovider.alert_mutex")
        assert alerts.tell(_context(3, "success"), at=after(130)).message is None
    parts_work = "not exists (select from lockprovider.alert_occurrence o where o.is_open)"
    _until(redshift, f"select is_open and announced and {parts_work} from lockprovider.alert")
    assert alerts.tell(_context(4, "success"), at=after(140)).sent
    assert told == [
        "[Airflow] nightly.load failed",
        "[Airflow] nightly.load failed (2 since 12:00)",
        "[Airflow] RECOVERED: nightly.load works again",
    ]


def _until(redshift: Redshift, question: str) -> None:
    until = time.monotonic() + 20
    while redshift.query(question) != [True]:
        assert time.monotonic() < until, question
        time.sleep(0.05)
