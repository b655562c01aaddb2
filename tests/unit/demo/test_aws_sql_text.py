"""Reading just enough SQL text."""

from __future__ import annotations

import pytest

from airflow_lockprovider.demo.aws import sql_text


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1; SELECT 2",
        "SELECT ';' ;\n SELECT 2;",
        "BEGIN; COMMIT",
    ],
)
def test_several_statements_are_seen(sql: str) -> None:
    assert sql_text.is_several_statements(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "SELECT 1 ; \n",
        "SELECT ';', \"a;b\" -- and; this",
        "/* first; */ SELECT E'it\\'s; ' ; -- the end; really",
        "DO $body$ BEGIN PERFORM 1; PERFORM 2; END $body$",
        "SELECT 'it''s; one'",
    ],
)
def test_semicolons_in_literals_and_comments_end_nothing(sql: str) -> None:
    assert not sql_text.is_several_statements(sql)


def test_named_parameters_are_found_only_in_code() -> None:
    sql = """SELECT :id::int, ':no', "x:no", a[1:2] /* :no */ FROM t WHERE b = :other_1 -- :no"""
    assert sql_text.parameter_names(sql) == {"id", "other_1"}


def test_only_given_parameters_are_replaced_and_percent_signs_survive() -> None:
    sql = "SELECT :id::int % 2, 'a%:id' WHERE b LIKE :like AND c = :unknown"
    assert sql_text.for_psycopg(sql, {"id": "1", "like": "x%"}) == (
        "SELECT %(id)s::int %% 2, 'a%%:id' WHERE b LIKE %(like)s AND c = :unknown"
    )
    assert sql_text.for_psycopg(sql, {}) == sql
