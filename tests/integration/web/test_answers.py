"""What the page is told, and what it records when somebody acts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from airflow_lockprovider.lease import LeaseEngine
from airflow_lockprovider.web import warehouse
from tests.integration.web.conftest import Site
from tests.integration.web.speed import QUESTIONS, Stopwatch, fill

Ask = Callable[..., Any]
ACT = {"X-Lockprovider": "1", "Sec-Fetch-Site": "same-origin"}


def _task(dag: str, **more: Any) -> dict[str, Any]:
    return {"dag_id": dag, "run_id": "r1", "task_id": "load", "map_index": -1, **more}


def test_a_task_is_told_who_holds_what_it_waits_for(ask: Ask, locks: LeaseEngine) -> None:
    locks.try_acquire("dwh.sales", "one", owner="nightly/r1/load#1", context=_task("nightly"))
    locks.try_acquire("dwh.stock", "other")
    locks.enqueue("dwh.sales", owner_id="two", owner="backfill/r1/load#1", context=_task("backfill"))
    told = ask("now", dag_id="backfill", run_id="r1", task_id="load", map_index="{MAP_INDEX}")
    assert [(row["lock_name"], row["owner"]) for row in told["locks"]] == [("dwh.sales", "nightly/r1/load#1")]
    (waiter,) = told["waiters"]
    assert waiter["mine"]
    assert waiter["blocked_by"][0]["kind"] == "lease"
    assert told["counts"] == {
        "rows": 1,
        "leases": 1,
        "late": 0,
        "too_long": 0,
        "draining": 0,
        "paused": 0,
        "waiters": 1,
        "matching": 1,
    }
    holder = ask("now", dag_id="nightly")
    assert [one["mine"] for one in holder["waiters"]] == [False], "who holds a lock sees who waits for it"


def test_counts_stay_when_a_mark_leaves_nothing(ask: Ask, locks: LeaseEngine) -> None:
    locks.try_acquire("x", "one")
    told = ask("now", mark="late")
    assert told["locks"] == []
    assert (told["counts"]["rows"], told["counts"]["matching"]) == (1, 0)


def test_a_lock_tells_its_spans_line_figures_and_events(ask: Ask, locks: LeaseEngine) -> None:
    first = locks.try_acquire("dwh.sales", "one", owner="first", context=_task("nightly"))
    locks.release(first)
    second = locks.try_acquire("dwh.sales", "two", owner="second")
    locks.revoke("dwh.sales", by="ann", reason="why")
    third = locks.try_acquire("dwh.sales", "three", owner="third")
    told = ask("lock", name="dwh.sales")
    assert [(span["token"], span["owner"], span["ended"]) for span in told["spans"]] == [
        (first.token, "first", "released"),
        (second.token, "second", "revoked"),
        (third.token, "third", None),
    ]
    assert (told["spans"][1]["by"], told["spans"][1]["reason"]) == ("ann", "why")
    assert told["stats"]["grants"] == 3
    assert told["events"][0]["event"] == "granted"
    assert [lease["token"] for lease in told["leases"]] == [third.token]


def test_a_free_lock_still_tells_its_capacity_and_whether_it_is_paused(ask: Ask, locks: LeaseEngine) -> None:
    locks.set_capacity("slots", 3)
    locks.pause("slots", "ann", "moving")
    told = ask("lock", name="slots")
    assert (told["capacity"], told["paused"], told["leases"]) == (3, True, [])


def test_a_lock_that_nobody_knows_is_not_found(site: Site, locks: LeaseEngine) -> None:
    answer = site.visitor("viewer").get("/lockprovider/api/lock", params={"name": "dwh.slaes"})
    assert answer.status_code == 404
    assert "dwh.slaes" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["a/b?c=1&d#e", "../../etc/passwd", "<script>alert(1)</script>", "täglich ✓", "%00%"])
def test_any_name_of_a_lock_can_be_asked_for_and_acted_on(site: Site, locks: LeaseEngine, name: str) -> None:
    lease = locks.try_acquire(name, "one")
    client = site.visitor("op", **ACT)
    assert client.get("/lockprovider/api/lock", params={"name": name}).json()["name"] == name
    taken = {"lock": name, "token": lease.token, "reason": "stuck"}
    assert client.post("/lockprovider/api/revoke", json=taken).json()["tokens"] == [lease.token]
    assert locks.leases() == []


def test_acts_are_in_the_history_with_the_person_and_the_reason(site: Site, locks: LeaseEngine) -> None:
    lease = locks.try_acquire("dwh.sales", "one")
    client = site.visitor("op", **ACT)
    named = {"lock": "dwh.sales"}
    for act, more in (
        ("pause", {"reason": "  the table moves "}),
        ("resume", {"reason": "it has moved"}),
        ("revoke", {"reason": "stuck", "token": lease.token}),
    ):
        assert client.post(f"/lockprovider/api/{act}", json=named | more).status_code == 200
    acted = [(event.event, event.actor, event.reason) for event in reversed(locks.history("dwh.sales")) if event.actor]
    assert acted == [
        ("paused", "op", "the table moves"),
        ("resumed", "op", "it has moved"),
        ("revoked", "op", "stuck"),
    ]


@pytest.mark.parametrize(
    ("act", "body", "status"),
    [
        ("revoke", {"lock": "x", "token": 1, "reason": "why"}, 409),
        ("revoke", {"lock": "x", "reason": "why"}, 422),
        ("revoke", {"lock": "x", "token": 1, "reason": "   "}, 422),
        ("revoke", {"lock": "x", "token": 1, "reason": "why", "by": "somebody else"}, 422),
        ("pause", {"lock": "unheard of", "reason": "why"}, 404),
        ("pause", {"lock": "x"}, 422),
        ("resume", {"lock": "x", "reason": "why"}, 409),
    ],
)
def test_an_act_that_cannot_be_done_says_so(
    site: Site, locks: LeaseEngine, act: str, body: dict[str, Any], status: int
) -> None:
    locks.release(locks.try_acquire("x", "one"))
    answer = site.visitor("admin", **ACT).post(f"/lockprovider/api/{act}", json=body)
    assert answer.status_code == status
    assert answer.json()["detail"]


def test_who_was_granted_the_lock_meanwhile_keeps_it(site: Site, locks: LeaseEngine) -> None:
    seen = locks.try_acquire("x", "one")
    locks.release(seen)
    new = locks.try_acquire("x", "two")
    body = {"lock": "x", "token": seen.token, "reason": "stuck"}
    assert site.visitor("op", **ACT).post("/lockprovider/api/revoke", json=body).status_code == 409
    assert [lease.token for lease in locks.leases()] == [new.token]


def test_statistics_come_by_lock_or_by_owner(ask: Ask, locks: LeaseEngine) -> None:
    locks.release(locks.try_acquire("x", "one", owner="nightly/r1/load#1", context=_task("nightly")))
    (by_lock,) = ask("stats", by="lock")["locks"]
    assert (by_lock["lock_name"], by_lock["grants"]) == ("x", 1)
    (by_owner,) = ask("stats", by="owner")["owners"]
    assert (by_owner["dag_id"], by_owner["task_id"], by_owner["lock_name"]) == ("nightly", "load", "x")
    assert ask("stats", by="owner", dag_id="other")["owners"] == []


def test_a_connection_that_is_not_shown_cannot_be_asked_for(site: Site, locks: LeaseEngine) -> None:
    answer = site.visitor("admin").get("/lockprovider/api/now", params={"conn_id": "airflow_db"})
    assert answer.status_code == 404
    assert "page_conn_ids" in answer.json()["detail"]


@pytest.fixture
def trouble(site: Site, dsn: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """What the page is told when the connection of the locks leads elsewhere; then it leads back."""

    def told(uri: str | None) -> Any:
        if uri is None:
            monkeypatch.delenv("AIRFLOW_CONN_DWH_DEFAULT")
        else:
            monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", uri)
        warehouse._warehouses.clear()
        return site.visitor("viewer").get("/lockprovider/api/now")

    return told


def test_a_warehouse_that_is_down_is_503_with_the_reason_and_is_found_again_by_itself(
    site: Site, dsn: str, trouble: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = trouble("postgresql://nobody:secret-word@127.0.0.1:1/nowhere")
    assert (answer.status_code, answer.json()["kind"]) == (503, "down")
    assert "Connection refused" in answer.json()["detail"]
    assert "secret-word" not in answer.text
    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", dsn)
    assert site.visitor("viewer").get("/lockprovider/api/now").status_code == 200


def test_missing_tables_are_503_with_the_command_that_makes_them(trouble: Any, database: str) -> None:
    answer = trouble(database)
    assert (answer.status_code, answer.json()["kind"]) == (503, "tables")
    assert "airflow locks init" in answer.json()["detail"]


def test_a_missing_connection_is_503_and_names_it(trouble: Any) -> None:
    answer = trouble(None)
    assert (answer.status_code, answer.json()["kind"]) == (503, "settings")
    assert "dwh_default" in answer.json()["detail"]


def test_the_plugin_costs_a_worker_nothing_and_has_no_listener() -> None:
    # Each task imports it. A listener would turn DAGs with end_from_trigger into import errors in Airflow 3.3.2.
    code = """
import sys
import airflow.sdk.plugins_manager
before = set(sys.modules)
from airflow_lockprovider.plugins.locks_page import LocksPage
page = LocksPage()
print(sorted({name.partition('.')[0] for name in set(sys.modules) - before}), page.listeners, 'fastapi' in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[-2] == "['airflow_lockprovider'] [] False"


@pytest.fixture
def crowd(locks: LeaseEngine, dsn: str) -> None:
    """10,000 leases, 2,000 waiters and 100,000 events."""
    fill(dsn)


def test_the_median_answer_takes_300_ms_at_most_with_10_000_leases_and_100_000_events(
    site: Site, dsn: str, crowd: None
) -> None:
    client = site.visitor("viewer")
    stopwatch = Stopwatch(dsn)
    slow = {}
    for path, params in QUESTIONS:

        def ask(path: str = path, params: dict[str, Any] = params) -> None:
            assert client.get(f"/lockprovider/api/{path}", params=params).status_code == 200

        cost = stopwatch.measure(ask)
        print(f"{path} {params}: {cost}")
        if not cost.is_in_time:
            slow[f"{path} {params}"] = str(cost)
    assert slow == {}
