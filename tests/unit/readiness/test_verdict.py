from __future__ import annotations

import json
import pickle

import pytest

from airflow_lockprovider.lease.errors import ConfigurationError, LockProviderError
from airflow_lockprovider.readiness.errors import DataWillNotArrive, ReadinessMisconfigured, error_for
from airflow_lockprovider.readiness.verdict import Status, Verdict, in_words

WAITING = Verdict(
    Status.WAIT,
    expected=10_000,
    arrived=9_873,
    missing_sample=("out/a",),
    oldest_pending=240,
    requests=7,
    notes=("old table format",),
    facts={"bytes": 5},
)


def test_a_verdict_reads_as_one_line() -> None:
    assert str(WAITING) == "9,873/10,000 arrived, 127 pending, oldest 4 min"


def test_a_verdict_without_counts_is_its_reason() -> None:
    assert str(Verdict(Status.READY, reason="crawl SUCCEEDED")) == "crawl SUCCEEDED"
    assert str(Verdict(Status.READY)) == "READY"


def test_a_verdict_survives_the_way_through_json() -> None:
    assert Verdict.from_dict(json.loads(json.dumps(WAITING.as_dict()))) == WAITING


def test_a_verdict_of_an_older_release_can_still_be_read() -> None:
    assert Verdict.from_dict({"status": "READY", "missing_sample": []}) == Verdict(Status.READY)


@pytest.mark.parametrize(
    ("status", "kind"), [(Status.FAILED, DataWillNotArrive), (Status.MISCONFIGURED, ReadinessMisconfigured)]
)
def test_a_bad_verdict_has_an_error_that_survives_pickling(status: Status, kind: type[Exception]) -> None:
    error = error_for(Verdict(status, reason="no rule"))
    assert type(error) is kind
    assert isinstance(error, LockProviderError)
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == "no rule"
    assert again.verdict == error.verdict


def test_a_misconfiguration_is_a_configuration_error() -> None:
    assert issubclass(ReadinessMisconfigured, ConfigurationError)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (59, "59 s"), (240, "4 min"), (7500, "2 h 05 min"), (-3, "0 s")]
)
def test_durations_in_words(seconds: float, said: str) -> None:
    assert in_words(seconds) == said
