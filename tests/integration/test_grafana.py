"""The dashboard: every query of it runs on both dialects, with the rights of a reader, and says what is so."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg.rows import dict_row

from airflow_lockprovider.demo.postgres import EmbeddedPostgres
from airflow_lockprovider.grafana import dashboard
from airflow_lockprovider.lease import ConfigurationError, connect
from tests.conformance.dialects import DIALECTS, Dialect
from tests.integration.grafana_sql import Looking
from tests.redshift.lint import refusals

Rows = list[dict[str, Any]]
Ask = Callable[..., Rows]

DOCS = Path(__file__).parents[2] / "docs" / "grafana.md"
MODEL = dashboard()
PANELS = {panel["title"]: panel for panel in MODEL["panels"]}
SOURCE = {"type": "grafana-postgresql-datasource", "uid": "${datasource}"}
HOSTILE = "it's; drop view $lock --"


def _sql(title: str) -> str:
    (target,) = PANELS[title]["targets"]
    return str(target["rawSql"])


@pytest.fixture(scope="module", params=DIALECTS)
def filled(request: pytest.FixtureRequest, postgres: EmbeddedPostgres) -> Iterator[str]:
    """The DSN of a reader of a database in which things have happened."""
    name = f"grafana_{request.param}_{os.getpid()}"
    dsn = postgres.create_database(name, template="template0")
    dialect = DIALECTS[request.param](dsn)
    dialect.engine().init_schema()
    _happen(dialect)
    reader = f"reader_{secrets.token_hex(4)}"
    with psycopg.connect(dsn, autocommit=True) as admin:
        # As the page tells people to.
        create, grants = re.findall(r"```sql\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
        if request.param == "redshift":
            create = create.replace("grant", "-- grant") + grants
        admin.execute(create.replace("grafana_reader", reader))
        parts = urlsplit(dsn)
        yield urlunsplit(parts._replace(netloc=f"{reader}:choose%20one@{parts.hostname}:{parts.port}"))
        admin.execute(f"drop owned by {reader}; drop role {reader}")  # type: ignore[arg-type]
    dialect.close()
    postgres.drop_database(name)


def _happen(dialect: Dialect) -> None:
    engine = dialect.engine()
    load = {"dag_id": "nightly", "task_id": "load"}
    for held, waited in ((10, 0), (30, 4)):
        lease = engine.try_acquire("dwh.sales", owner="nightly/r/load#1", context=load)
        engine.release(lease)
        for column, value, event in (("held", held, "released"), ("waited", waited, "granted")):
            dialect.query(
                f"update lockprovider.lease_event set {column} = {value}"
                f" where token = {lease.token} and event = '{event}'"
            )
    dialect.expire(engine.try_acquire("dwh.sales", owner="backfill/r/load#1", context={**load, "dag_id": "backfill"}))
    engine.clean_up()
    engine.try_acquire("gone", owner="a cron job")
    engine.revoke("gone", by="ann", reason="it hung")
    engine.pause("gone", by="ann", reason="maintenance")
    # Now: one healthy, one whose owner is silent, three requests in line, one of them for two locks.
    engine.try_acquire(HOSTILE, owner="healthy", ttl=100, capacity=3, units=2)
    silent = engine.try_acquire("dwh.sales", owner="silent", ttl=100, context=load)
    dialect.query(
        "update lockprovider.lease set renewed_at = renewed_at - interval '80 seconds',"
        f" expires_at = expires_at - interval '80 seconds' where token = {silent.token}"
    )
    engine.enqueue("dwh.sales", owner_id="1", owner="first")
    engine.enqueue("dwh.sales", owner_id="2", owner="urgent", priority=5)
    engine.enqueue(["dwh.sales", HOSTILE], owner_id="3", owner="both")
    dialect.query("update lockprovider.waiter set created_at = created_at - interval '90 seconds' where owner_id = '1'")
    # Yesterday's: out of the time range.
    engine.release(engine.try_acquire("old"))
    dialect.query("update lockprovider.lease_event set at = at - interval '30 hours' where lock_name = 'old'")


@pytest.fixture
def ask(filled: str) -> Iterator[Ask]:
    """What a panel gets, by its title."""
    with psycopg.connect(filled, autocommit=True, row_factory=dict_row) as connection:

        def rows(title: str, *locks: str) -> Rows:
            looking = Looking(datetime.now(UTC) + timedelta(minutes=1), locks=locks)
            # As bytes: no parameters are looked for in it, as Grafana sends it.
            return connection.execute(looking.query(_sql(title)).encode()).fetchall()

        yield rows


@pytest.mark.parametrize(
    ("title", "expected"),
    [("Leases", 2), ("Close to expiry", 1), ("Waiting", 3), ("Lost leases", 2), ("Paused locks", 1)],
)
def test_each_figure_on_top_is_one_number(ask: Ask, title: str, expected: int) -> None:
    (row,) = ask(title)
    assert list(row.values()) == [expected]


def test_the_longest_wait_is_the_oldest_requests(ask: Ask) -> None:
    (row,) = ask("Longest wait")
    assert row["longest_wait"] == pytest.approx(90, abs=60)
    assert row["longest_wait"] >= 89


def test_active_leases_show_owner_time_left_and_those_who_wait(ask: Ask) -> None:
    rows = {row["lock"]: row for row in ask("Active leases")}
    assert set(rows) == {"dwh.sales", HOSTILE}
    silent, healthy = rows["dwh.sales"], rows[HOSTILE]
    assert (silent["owner"], silent["state"], silent["units"], silent["capacity"], silent["waiters"]) == (
        "silent",
        "held",
        1,
        1,
        3,
    )
    assert (healthy["owner"], healthy["units"], healthy["capacity"], healthy["waiters"]) == ("healthy", 2, 3, 1)
    assert silent["expires in"] == pytest.approx(20, abs=60)
    assert silent["life left"] < 0.21
    assert 0.4 < healthy["life left"] <= 1.01
    assert healthy["held"] == pytest.approx(0, abs=60)


def test_close_to_expiry_lists_the_silent_owner_alone(ask: Ask) -> None:
    (row,) = ask("Leases close to expiry")
    assert (row["lock"], row["owner"], row["ttl"], row["waiters"]) == ("dwh.sales", "silent", 100, 3)
    assert row["expires in"] <= 20


def test_the_queue_is_in_order(ask: Ask) -> None:
    rows = [(row["lock"], row["place"], row["owner"], row["units"], row["priority"]) for row in ask("Queue")]
    assert rows == [
        ("dwh.sales", 1, "urgent", 1, 5),
        ("dwh.sales", 2, "first", 1, 0),
        ("dwh.sales", 3, "both", 1, 0),
        (HOSTILE, 1, "both", 1, 0),
    ]
    assert all(0 <= row["unseen"] < 60 for row in ask("Queue"))


def test_the_average_hold_time_is_that_of_released_leases(ask: Ask) -> None:
    (row,) = _whole_day(ask("Average hold time"), "value", lambda values: sum(values) / len(values))
    assert row == ("dwh.sales", pytest.approx(20))


def test_waits_are_the_95th_percentile_of_what_was_granted(ask: Ask) -> None:
    """Waited on dwh.sales: 0 and 4 seconds, and two that were granted at once."""
    rows = dict(_whole_day(ask("Waiting time, 95th percentile"), "value", max))
    assert set(rows) == {"dwh.sales", "gone", HOSTILE}
    assert 3 < rows["dwh.sales"] <= 4
    assert rows["gone"] == pytest.approx(0, abs=1)


def test_grants_are_scaled_to_an_hour(ask: Ask) -> None:
    """In steps of five minutes, one grant is twelve an hour."""
    assert dict(_whole_day(ask("Grants per hour"), "value", sum)) == {"dwh.sales": 48, "gone": 12, HOSTILE: 12}


def test_losses_are_counted_by_kind(ask: Ask) -> None:
    assert dict(_whole_day(ask("Lost leases and revocations"), "value", sum)) == {"expired": 1, "revoked": 1}


def _whole_day(rows: Rows, column: str, total: Callable[[list[float]], float]) -> list[tuple[str, float]]:
    """The steps of each series, put together: what has happened may lie on both sides of a step's edge."""
    found: dict[str, list[float]] = {}
    for row in rows:
        assert float(row["time"]) % 300 == 0
        found.setdefault(row["metric"], []).append(float(row[column]))
    return [(name, total(values)) for name, values in sorted(found.items())]


def test_owners_are_dags_and_tasks_and_outside_airflow_labels(ask: Ask) -> None:
    rows = {(row["dag"], row["task"], row["lock"]): row for row in ask("By owner")}
    nightly = rows["nightly", "load", "dwh.sales"]
    assert (nightly["grants"], nightly["held in total"], nightly["held, mean"], nightly["lost"]) == (3, 40, 20, 0)
    assert rows["backfill", "load", "dwh.sales"]["lost"] == 1
    assert rows["-", "a cron job", "gone"]["lost"] == 1
    assert ask("By owner")[0]["dag"] == "nightly"


def test_who_took_a_lease_away_and_why_is_told(ask: Ask) -> None:
    revoked, expired = sorted(ask("Lost leases, newest first"), key=lambda row: row["lock"], reverse=True)
    assert (revoked["lock"], revoked["event"], revoked["by"], revoked["reason"]) == (
        "gone",
        "revoked",
        "ann",
        "it hung",
    )
    assert (expired["lock"], expired["event"], expired["owner"]) == ("dwh.sales", "expired", "backfill/r/load#1")


def test_one_lock_can_be_chosen_whatever_its_name(ask: Ask) -> None:
    assert [row["lock"] for row in ask("Active leases", HOSTILE)] == [HOSTILE]
    assert {row["lock"] for row in ask("Queue", HOSTILE, "gone")} == {HOSTILE}
    assert ask("Average hold time", HOSTILE) == []
    for title in PANELS:
        ask(title, "no such lock")


def test_what_lies_before_the_time_range_is_left_out(ask: Ask) -> None:
    assert "old" not in {row["metric"] for row in ask("Grants per hour")}
    assert ask("Grants per hour", "old") == []


def test_the_variable_lists_every_lock_once(filled: str) -> None:
    (lock,) = [one for one in MODEL["templating"]["list"] if one["name"] == "lock"]
    with psycopg.connect(filled) as connection:
        rows = connection.execute(Looking(datetime.now(UTC)).query(lock["query"]).encode()).fetchall()
    assert [name for (name,) in rows] == sorted(["dwh.sales", "gone", HOSTILE, "old"])


def test_a_reader_has_no_right_that_the_dashboard_does_not_need(filled: str) -> None:
    with psycopg.connect(filled, autocommit=True) as connection:
        for statement in (
            "select * from lockprovider.lease",
            "delete from lockprovider.lease_event",
            "update lockprovider.lock set paused = false",
            "create table lockprovider.mine (a int)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)  # type: ignore[arg-type]


def test_a_day_of_a_long_history_is_found_by_time(database: str) -> None:
    engine = connect(database)
    engine.init_schema()
    engine.close()
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(
            "insert into lockprovider.lease_event (at, lock_name, owner_id, owner, event)"
            " select now() - interval '90 days' * (1 - n / 200000.0), 'x', 'o', 'o', 'released'"
            " from generate_series(1, 200000) n; analyze lockprovider.lease_event"
        )
        of_a_time = [title for title in PANELS if "$__timeFilter" in _sql(title)]
        assert len(of_a_time) == 7
        for title in of_a_time:
            query = Looking(datetime.now(UTC)).query(_sql(title))
            plan = "\n".join(line for (line,) in admin.execute(f"explain {query}".encode()).fetchall())
            assert "lease_event_at" in plan, title
            assert "Seq Scan on lease_event" not in plan, title


def test_every_panel_has_a_number_of_its_own_a_source_and_a_place_of_its_own() -> None:
    panels = MODEL["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels) == 15
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["datasource"] == SOURCE
        assert [target["datasource"] for target in panel["targets"]] == [SOURCE]
        assert panel["targets"][0]["format"] == ("time_series" if panel["type"] == "timeseries" else "table")
        assert panel["description"].endswith(".")
        at = panel["gridPos"]
        squares = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not squares & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= squares


def test_every_column_that_a_panel_formats_is_one_that_it_gets() -> None:
    for title, panel in PANELS.items():
        for override in panel["fieldConfig"]["overrides"]:
            assert f'as "{override["matcher"]["options"]}"' in _sql(title), title


def test_the_variables_are_those_that_the_queries_use() -> None:
    declared = {one["name"] for one in MODEL["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(MODEL)))
    assert {name for name in used if not name.startswith("__")} == declared
    assert used - declared == {"__timeFilter", "__timeGroupAlias", "__interval", "__interval_ms", "__all"}


@pytest.mark.parametrize("title", PANELS)
def test_every_query_is_one_that_redshift_has(title: str) -> None:
    assert refusals(Looking(datetime.now(UTC), locks=["a"]).query(_sql(title))) == []


def test_the_dashboard_is_printed_for_any_schema() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "airflow_lockprovider.grafana", "--schema", "etl_locks"],
        capture_output=True,
        check=True,
        text=True,
    )
    model = json.loads(printed.stdout)
    assert model == dashboard("etl_locks")
    (schema,) = [one for one in model["templating"]["list"] if one["name"] == "schema"]
    assert (schema["query"], schema["current"]["value"]) == ("etl_locks", "etl_locks")
    assert dashboard("lockprovider") == MODEL


def test_a_schema_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="plain lower-case name"):
        dashboard('x"; drop schema lockprovider; --')
