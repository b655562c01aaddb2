"""Real processes that contend, die and freeze."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import psycopg
import pytest

from airflow_lockprovider.lease import LeaseEngine
from tests.faults.conftest import Worker

Sql = psycopg.Connection[Any]
Workers = Callable[..., Worker]


def _rows(sql: Sql, query: str) -> list[Any]:
    return sql.execute(query).fetchall()  # type: ignore[arg-type]


@pytest.mark.parametrize("capacity", [1, 3])
def test_six_processes_never_overlap_beyond_the_capacity(
    database: str, engine: LeaseEngine, sql: Sql, workers: Workers, capacity: int
) -> None:
    engine.set_capacity("x", capacity)
    rounds = 150
    started = [workers("rounds", database, count=rounds, waiting=False) for _ in range(6)]
    for worker in started:
        assert worker.heard() == {"ready": True}
    for worker in started:
        worker.go_on()
    answers = [worker.heard() for worker in started]
    assert [answer["done"] for answer in answers] == [rounds] * 6
    assert sum(answer["busy"] for answer in answers) > 0, "they did contend"

    ((grants, tokens, most),) = _rows(sql, "select count(*), count(distinct token), max(others) from seen")
    assert grants == tokens == 6 * rounds
    assert 1 <= most <= capacity
    if capacity > 1:
        assert most > 1, "more than one was let in at a time"
    # …and by the history that the decisions themselves wrote
    ((overlap,),) = _rows(
        sql,
        "select max(n) from (select sum(case event when 'granted' then 1 else -1 end) over (order by event_id) n"
        " from lockprovider.lease_event where event in ('granted', 'released', 'expired')) t",
    )
    assert overlap <= capacity
    assert engine.leases() == []


def test_processes_that_wait_in_line_all_get_their_turn(
    database: str, engine: LeaseEngine, sql: Sql, workers: Workers
) -> None:
    started = [workers("rounds", database, count=5, waiting=True) for _ in range(4)]
    for worker in started:
        worker.heard()
    for worker in started:
        worker.go_on()
    assert [worker.heard()["done"] for worker in started] == [5] * 4
    assert _rows(sql, "select count(*), max(others) from seen") == [(20, 1)]
    assert engine.queue() == []


@pytest.mark.parametrize("keep", [False, True], ids=["between renewals", "while renewing"])
def test_a_killed_holder_is_replaced_after_its_ttl_and_soon_after(
    database: str, engine: LeaseEngine, sql: Sql, workers: Workers, keep: bool
) -> None:
    holder = workers("hold", database, keep=keep)
    held = holder.heard()
    if keep:
        time.sleep(0.5)  # the renewals are what is tested
    waiter = workers("hold", database, keep=False)
    while not engine.queue("x"):
        time.sleep(0.02)
    holder.send(signal.SIGKILL)
    ((expires_at,),) = _rows(sql, "select expires_at from lockprovider.lease")
    assert expires_at >= datetime.fromisoformat(held["expires_at"])
    successor = waiter.heard()
    assert successor["token"] > held["token"]
    ((granted_at,),) = _rows(
        sql, f"select at from lockprovider.lease_event where event = 'granted' and token = {successor['token']}"
    )
    late = (granted_at - expires_at).total_seconds()
    settings = engine.settings
    assert 0 <= late <= settings.skip_after + settings.poll_interval


def test_a_frozen_holder_cannot_write_after_its_successor_came(
    database: str, engine: LeaseEngine, sql: Sql, workers: Workers
) -> None:
    frozen = workers("hold", database, keep=False)
    token = frozen.heard()["token"]
    frozen.send(signal.SIGSTOP)
    successor = engine.acquire("x", wait_timeout=20)
    assert successor.token > token
    with engine.fenced(successor) as cursor:
        cursor.execute("insert into written values (%s, 'successor')", (successor.token,))
    frozen.send(signal.SIGCONT)
    frozen.go_on()
    answer = frozen.heard()
    assert answer["wrote"] is False
    assert f"token {token}" in answer["reason"]
    assert _rows(sql, "select * from written") == [(successor.token, "successor")]


def test_a_frozen_holder_learns_of_its_loss_as_soon_as_it_runs_again(
    database: str, engine: LeaseEngine, workers: Workers
) -> None:
    frozen = workers("kept", database)
    token = frozen.heard()["token"]
    frozen.send(signal.SIGSTOP)
    assert engine.acquire("x", wait_timeout=20).token > token
    frozen.send(signal.SIGCONT)
    assert f"token {token}" in frozen.heard()["lost"]


def test_a_holder_frozen_inside_a_guarded_transaction_keeps_all_others_out(
    database: str, engine: LeaseEngine, sql: Sql, workers: Workers
) -> None:
    """Until the server ends its idle session, at half the ttl; then nothing of it stands."""
    frozen = workers("guarded", database)
    token = frozen.heard()["token"]
    frozen.send(signal.SIGSTOP)
    assert _rows(sql, f"select count(*) from lockprovider.guard_pids('x', {token})") == [(1,)]
    assert engine.revoke("x", by="ann", reason="frozen")
    assert not engine.try_acquire("x"), "it drains"
    successor = engine.acquire("x", wait_timeout=20)
    assert _rows(sql, f"select count(*) from lockprovider.guard_pids('x', {token})") == [(0,)]
    assert successor.token > token
    assert _rows(sql, "select * from written") == []


def test_a_holder_killed_inside_a_guarded_transaction_leaves_nothing_behind(
    database: str, engine: LeaseEngine, sql: Sql, workers: Workers
) -> None:
    killed = workers("guarded", database)
    token = killed.heard()["token"]
    killed.send(signal.SIGKILL)
    assert not engine.try_acquire("x"), "its ttl is not over"
    successor = engine.acquire("x", wait_timeout=20)
    assert successor.token > token
    assert _rows(sql, "select * from written") == []
    expired = [event for event in engine.history("x") if event.event == "expired"]
    assert [event.token for event in expired] == [token]
