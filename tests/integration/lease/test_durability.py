"""What is on disk before its answer: every grant, whatever the session is set to; a release need not be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import psycopg
import pytest

from airflow_lockprovider.lease import LeaseEngine

Sql = psycopg.Connection[Any]


@pytest.fixture
def commits(engine: LeaseEngine, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], dict[str, str]]:
    """How the transactions of some work are committed, by the name of the statement. The session asks for nothing."""
    seen: dict[str, str] = {}
    call = engine.store.call

    def in_a_transaction(name: str, **params: Any) -> Any:
        connection = engine.store._connection()
        with connection.transaction():
            connection.execute("set local synchronous_commit = off")
            rows = call(name, **params)
            seen[name] = connection.execute("show synchronous_commit").fetchone()[0]
        return rows

    def watch(work: Callable[[], Any]) -> dict[str, str]:
        with monkeypatch.context() as patch:
            patch.setattr(engine.store, "call", in_a_transaction)
            work()
        return seen

    return watch


def test_a_grant_waits_for_the_disk_and_a_release_does_not(
    engine: LeaseEngine, commits: Callable[[Callable[[], Any]], Mapping[str, str]]
) -> None:
    engine.release(engine.try_acquire("x"))  # the lock has its row

    def work() -> None:
        lease = engine.try_acquire("x", "one")
        ticket = engine.enqueue("x", owner_id="two").number
        engine.renew(lease)
        engine.release(lease)
        engine.reserve(ticket)
        engine.release(engine.confirm(ticket, "two"))

    assert commits(work) == {
        "try_acquire": "on", "enqueue": "on", "renew": "on", "reserve": "on", "confirm": "on", "release": "off",
    }  # fmt: skip
