from __future__ import annotations

from typing import Any

import pytest
from fake_aws import FakeClientError

from airflow_lockprovider.readiness import statement
from airflow_lockprovider.readiness.external_data import ExternalDataProbe
from airflow_lockprovider.readiness.verdict import Status

KEYS = [["year"]]
FOUND = [['["2026"]', "s3://lake/sales/year=2026"]]


class DataApi:
    """Statements whose states a test writes down: the ``ends`` one after the other, and the rows of those that end
    well. Without an end a statement goes on for ever."""

    def __init__(self, *ends: Any) -> None:
        self.ends = list(ends)
        self.submitted: list[str] = []
        self.known: dict[str, Any] = {}

    def execute_statement(self, *, Sql: str, **_: Any) -> dict[str, Any]:
        self.submitted.append(Sql)
        name = f"statement-{len(self.submitted)}"
        self.known[name] = self.ends.pop(0) if self.ends else None
        return {"Id": name}

    def describe_statement(self, *, Id: str) -> dict[str, Any]:
        if Id not in self.known:
            raise FakeClientError("DescribeStatement", "ResourceNotFoundException", 400, "Query does not exist")
        end = self.known[Id]
        if end is None:
            return {"Status": "STARTED"}
        if isinstance(end, tuple):
            return {"Status": end[0], "Error": end[1]}
        return {"Status": "FINISHED"}

    def get_statement_result(self, *, Id: str, NextToken: str = "0") -> dict[str, Any]:
        rows, at = self.known[Id], int(NextToken)
        page = [[{"stringValue": cell} for cell in row] for row in rows[at : at + 1]]
        return {"Records": page} | ({"NextToken": str(at + 1)} if at + 1 < len(rows) else {})


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statement, "_LOOKS", (0.0, 0.0))


def probe_of(api: DataApi, state: str = "", **settings: Any) -> ExternalDataProbe:
    target = {"WorkgroupName": "analytics", "Database": "dwh"}
    given = {"schema": "lake", "table": "sales", "partitions": ["year=2026"], **settings}
    probe = ExternalDataProbe({"redshift-data": api}, target=target, **given)
    if state:
        probe.restore(state)
    return probe


def test_two_statements_are_enough() -> None:
    api = DataApi(KEYS, FOUND)
    assert probe_of(api).begin().status is Status.READY
    assert len(api.submitted) == 2


def test_a_result_is_read_page_by_page() -> None:
    api = DataApi(KEYS, [['["2025"]', "s3://x"], *FOUND])
    assert probe_of(api).begin().status is Status.READY


def test_a_statement_that_takes_long_is_not_submitted_again_not_even_by_another_process() -> None:
    api = DataApi()
    first = probe_of(api)
    assert first.begin().status is Status.WAIT
    second = probe_of(api, first.state())
    assert second.step().status is Status.WAIT
    assert len(api.submitted) == 1
    api.known["statement-1"] = KEYS
    api.ends = [FOUND]
    assert probe_of(api, second.state()).step().status is Status.READY


def test_a_statement_that_redshift_has_forgotten_is_asked_anew() -> None:
    api = DataApi()
    probe = probe_of(api)
    probe.begin()
    api.known.clear()
    assert probe.step().status is Status.WAIT
    api.ends = [KEYS, FOUND]
    assert probe.step().status is Status.READY


def test_an_aborted_statement_is_asked_again_but_not_for_ever() -> None:
    aborted = ("ABORTED", "cancelled on user's request")
    assert probe_of(DataApi(aborted, aborted, KEYS, FOUND)).begin().status is Status.WAIT
    probe = probe_of(DataApi(aborted, aborted, aborted))
    assert [probe.step().status for _ in range(3)] == [Status.WAIT, Status.WAIT, Status.FAILED]


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("ERROR: permission denied for schema lake", Status.MISCONFIGURED),
        ('ERROR: relation "x" does not exist', Status.MISCONFIGURED),
        ("ERROR: Spectrum Scan Error: corrupt Parquet", Status.FAILED),
    ],
)
def test_a_failure_is_told_in_redshifts_words(message: str, status: Status) -> None:
    verdict = probe_of(DataApi(("FAILED", message))).begin()
    assert verdict.status is status
    assert f"Redshift analytics with lake.sales answered: FAILED: {message}" in verdict.reason


def test_names_are_quoted_and_values_are_parameters() -> None:
    api = DataApi(KEYS, FOUND, [["3"]])
    verdict = probe_of(api, schema='la"ke', min_files=2).begin()
    assert verdict.status is Status.READY
    assert 'FROM "la""ke"."sales" WHERE "year" = :v0' in api.submitted[-1]
