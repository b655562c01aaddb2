"""Every statement for Redshift stays inside Redshift's SQL, and the check can fail."""

from __future__ import annotations

import re

import pytest

from airflow_lockprovider.lease.redshift.store import RedshiftStore
from airflow_lockprovider.lease.statements import Statements, statements
from tests.redshift.lint import refusals

SQL = statements("redshift", "lockprovider")
CALLS = [
    name
    for script in ("calls.sql", "calls_alerts.sql", "calls_page.sql", "calls_doctor.sql")
    for name in re.findall(r"^-- name: (\w+)$", SQL.script(script), re.MULTILINE)
]


def _filled(text: str) -> str:
    """With values where the drivers put them."""
    return re.sub(r"%\(\w+\)s", "1", text).replace(":fence", "fence_x")


@pytest.mark.parametrize("name", CALLS)
def test_every_call_is_one_statement_that_redshift_has(name: str) -> None:
    text = _filled(SQL[name])
    assert ";" not in text
    assert refusals(text) == []


@pytest.mark.parametrize("script", ["migrations/0001_tables.sql", "migrations/0002_alerts.sql", "views.sql"])
def test_every_statement_of_the_schema_is_one_that_redshift_has(script: str) -> None:
    assert refusals(SQL.script(script)) == []


def test_the_text_of_the_guard_is_one_that_redshift_has() -> None:
    store = RedshiftStore(lambda: None, schema="lockprovider")
    text = store.guard_text("it's; a\\lock", 7)
    assert text.count(";") == 1
    assert refusals(text) == []


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("insert into t (a) values (1) on conflict do nothing", "ON CONFLICT"),
        ("insert into t (a) values (1) returning a", "RETURNING"),
        ("delete from t where a = 1 returning a", "RETURNING"),
        ("select a from t for update", "FOR UPDATE"),
        ("select a from t for update skip locked", "FOR UPDATE"),
        ("select count(*) filter (where a = 1) from t", "FILTER"),
        ("create table t (a integer primary key)", "keys are not enforced"),
        ("create table t (a integer, primary key (a))", "keys are not enforced"),
        ("create table t (a integer unique)", "keys are not enforced"),
        ("create table t (a integer references u (a))", "keys are not enforced"),
        ("create table t (a integer check (a > 0))", "no CHECK"),
        ("create table t (a jsonb)", "type JSONB"),
        ("create table t (a text)", "type TEXT"),
        ("create index i on t (a)", "no CREATE INDEX"),
        ("create sequence s", "no CREATE SEQUENCE"),
        ("select now()", "start of the transaction"),
        ("select current_timestamp", "start of the transaction"),
        ("select sysdate", "start of the transaction"),
        ("select clock_timestamp()", "CLOCK_TIMESTAMP"),
        ("select nextval('s')", "no sequences"),
        ("select pg_notify('a', 'b')", "LISTEN"),
        ("select pg_advisory_xact_lock(1)", "advisory"),
        ("select make_interval(secs => 1)", "MAKE_INTERVAL"),
        ("select a from t where a = any (array[1, 2])", "array"),
        ("select a as tag from t", "reserved word"),
        ("listen a", "unknown statement"),
        ("do $$ begin null; end $$", ""),
        ("select from where", ""),
        ("lock t in share mode", "LOCK of one table alone"),
        ("lock s.a, s.b", "LOCK of one table alone"),
    ],
)
def test_the_check_refuses_what_redshift_lacks(bad: str, why: str) -> None:
    found = refusals(bad)
    assert found
    assert why in " ".join(found)


def test_most_of_the_sql_for_postgres_would_be_refused() -> None:
    other = Statements("postgres", "lockprovider")
    assert refusals(other.script("views.sql"))
    assert refusals(other.script("migrations/0001_tables.sql"))


def test_no_statement_is_there_that_nobody_uses() -> None:
    from importlib.resources import files

    code = "\n".join(
        entry.read_text(encoding="utf-8")
        for entry in (files("airflow_lockprovider.lease") / "redshift").iterdir()
        if entry.name.endswith(".py")
    )
    code += (files("airflow_lockprovider.desk") / "doctor.py").read_text(encoding="utf-8")
    assert [name for name in CALLS if f'"{name}"' not in code] == []
