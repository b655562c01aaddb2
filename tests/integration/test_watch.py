"""The watch with its voice: what is told, how often, and when it is over."""

from __future__ import annotations

import time

import psycopg
import pytest

from airflow_lockprovider import LeaseHook
from airflow_lockprovider.desk.watch import Thresholds
from airflow_lockprovider.exceptions import LockProviderError
from airflow_lockprovider.notifications import AlertNotifier
from airflow_lockprovider.notifications.watch import watch_locks


@pytest.fixture
def locks(database: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", database)
    hook = LeaseHook()
    hook.init_schema()
    yield hook
    hook.close()


@pytest.fixture
def said():
    """The alerts that went out, in order."""
    return []


@pytest.fixture
def look(locks: LeaseHook, said, airflow_db):
    """One round of the watch."""
    notifier = AlertNotifier(channels=[lambda context: said.append(context["alert"])])
    return lambda **more: watch_locks(notifier=notifier, **more)


def old(database: str, table: str, seconds: float, columns: str = "created_at"):
    """By the database's clock there is no other way to make something old."""
    moved = ", ".join(f"{column} = {column} - make_interval(secs => {seconds})" for column in columns.split())
    with psycopg.connect(database, autocommit=True) as opened:
        opened.execute(f"update lockprovider.{table} set {moved}".encode())


def test_a_trouble_is_told_once_with_all_that_helps_and_again_when_it_is_over(
    locks: LeaseHook, database: str, look, said
):
    context = {"log_url": "http://airflow/log", "expected_hold": 600}
    lease = locks.try_acquire("dwh.sales", owner="nightly/run/load#1", context=context)
    assert look() == []
    old(database, "lease", 700)

    kinds = [[problem.kind for problem in look()] for _ in range(3)]

    assert kinds == [["held too long"]] * 3
    (alert,) = said
    assert "lock 'dwh.sales': held too long" in alert.subject
    assert "nightly/run/load#1: held for 11m" in alert.text
    assert "→ look at its task; if it hangs: airflow locks revoke dwh.sales --reason" in alert.text
    assert "http://airflow/log" in alert.text

    locks.release(lease)
    assert [look(), look()] == [[], []]
    assert [("RECOVERED" in each.subject, "dwh.sales" in each.subject) for each in said[1:]] == [(True, True)]


def test_many_owners_of_one_lock_are_one_message(locks: LeaseHook, database: str, look, said):
    for number in range(30):
        locks.enqueue("dwh.sales", owner_id=str(number), owner=f"waiter {number}")
    old(database, "waiter", 7200)
    with psycopg.connect(database, autocommit=True) as opened:
        opened.execute("update lockprovider.waiter set seen_at = clock_timestamp()")

    assert len(look()) == 31

    assert sorted(each.kind for each in said) == ["queue too long", "waiting too long"]
    (waiting,) = [each for each in said if each.kind == "waiting too long"]
    assert "and 20 more" in waiting.text


@pytest.fixture
def growing(locks: LeaseHook, database: str):
    """Four waited an hour ago; two of them were served since, and ten came."""
    lease = locks.try_acquire("dwh.sales", owner="nightly/run/load#0")
    for number, (came, left) in enumerate([(70, 50), (65, 20)]):
        owner = f"served {number}"
        ticket = locks.enqueue("dwh.sales", owner_id=owner)
        locks.release(lease)
        lease = locks.acquire("dwh.sales", 0, owner)
        past = f"at = at - interval '{left} minutes', waited = {(came - left) * 60}"
        with psycopg.connect(database, autocommit=True) as opened:
            opened.execute(f"update lockprovider.lease_event set {past} where ticket = {ticket.number}".encode())
    for came in (70, 70, *range(59, 9, -5)):
        ticket = locks.enqueue("dwh.sales", owner_id=f"came {came} {time.monotonic()}")
        with psycopg.connect(database, autocommit=True) as opened:
            past = f"created_at = created_at - interval '{came} minutes', seen_at = seen_at + interval '10 minutes'"
            opened.execute(f"update lockprovider.waiter set {past} where ticket = {ticket.number}".encode())
    with psycopg.connect(database, autocommit=True) as opened:
        opened.execute("update lockprovider.lease_event set held = 750 where event = 'released'")
    return lease


def test_a_queue_that_grows_is_told_once_with_its_numbers_and_is_over_when_it_shrinks(
    locks: LeaseHook, growing, look, said
):
    limits = Thresholds(waiting=None)
    kinds = [[problem.kind for problem in look(thresholds=limits)] for _ in range(3)]

    assert kinds == [["queue growing"]] * 3
    (alert,) = said
    assert "lock 'dwh.sales': queue growing" in alert.subject
    assert "12 wait, 4 did 1h 0m ago: 10 came, 2 were served" in alert.text
    assert "it is usually held for 12m 30s, so the last in line waits about 2h 30m" in alert.text
    assert "→ it will not get shorter by itself" in alert.text

    assert look(thresholds=Thresholds(waiting=None, growth=None)) == []
    for waiter in locks.queue("dwh.sales")[:9]:
        locks.withdraw(waiter.ticket, waiter.owner_id)
    assert look(thresholds=limits) == []
    assert "RECOVERED" in said[-1].subject


def test_a_burst_just_now_is_not_growth(locks: LeaseHook, look, said):
    locks.try_acquire("dwh.sales")
    for number in range(19):
        locks.enqueue("dwh.sales", owner_id=str(number))
    assert look() == []
    assert said == []


def test_it_cleans_up_what_nobody_else_does(locks: LeaseHook, database: str, look):
    locks.try_acquire("dwh.sales")
    old(database, "lease", 3600, "renewed_at expires_at")

    assert look(clean_up=False) == []
    assert [event.event for event in locks.history("dwh.sales")] == ["granted"]
    assert look() == []
    assert [event.event for event in locks.history("dwh.sales")] == ["expired", "granted"]


def test_thresholds_may_be_given(locks: LeaseHook, look, said):
    locks.try_acquire("dwh.sales")
    time.sleep(0.01)
    assert [problem.kind for problem in look(thresholds=Thresholds(held=0.005))] == ["held too long"]
    assert look(thresholds=Thresholds(held=None)) == []
    assert len(said) == 2


def test_while_airflow_is_silent_no_dead_owner_comes_back_to_life(locks: LeaseHook, look, said, monkeypatch):
    locks.try_acquire("dwh.sales", "0f0e0d0c-0000-7000-8000-000000000001", owner="nightly/run/load#1")
    place = "airflow_lockprovider.notifications.watch.task_states"
    monkeypatch.setattr(place, lambda parties: {party.owner_id: "failed" for party in parties})
    assert [problem.kind for problem in look()] == ["dead owner"]
    monkeypatch.setattr(place, lambda parties: None)
    assert look() == []
    assert len(said) == 1
    monkeypatch.setattr(place, lambda parties: {party.owner_id: "running" for party in parties})
    assert look() == []
    assert ["RECOVERED" in each.subject for each in said] == [False, True]


def test_an_owner_that_gave_back_while_airflow_was_asked_is_not_dead(locks: LeaseHook, look, monkeypatch):
    lease = locks.try_acquire("dwh.sales", "0f0e0d0c-0000-7000-8000-000000000002")

    def meanwhile(parties):
        locks.release(lease)
        return {party.owner_id: "success" for party in parties}

    monkeypatch.setattr("airflow_lockprovider.notifications.watch.task_states", meanwhile)
    assert look() == []


def test_a_watch_that_cannot_look_fails(monkeypatch: pytest.MonkeyPatch, airflow_db):
    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", "postgresql://someone@127.0.0.1:1/warehouse")
    with pytest.raises(LockProviderError, match="does not serve"):
        watch_locks(notifier=AlertNotifier(channels=[print]))


def test_without_channels_it_only_says_so_in_the_log(locks: LeaseHook, database: str, airflow_db, caplog):
    locks.try_acquire("dwh.sales", owner="nightly/run/load#1")
    old(database, "lease", 7200)
    with caplog.at_level("WARNING"):
        assert len(watch_locks()) == 1
    assert "lock 'dwh.sales': held too long, nightly/run/load#1" in caplog.text
