from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_lockprovider.lease import ConfigurationError
from airflow_lockprovider.lease.duration import seconds


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (120, 120),
        (0.5, 0.5),
        (timedelta(minutes=2), 120),
        ("120", 120),
        ("10 mins", 600),
        ("10mins", 600),
        ("10 MINUTES", 600),
        ("1h 30m", 5400),
        ("1 hour, 30 minutes", 5400),
        ("1.5 h", 5400),
        ("250 ms", 0.25),
        ("2 days", 172800),
        ("PT5M", 300),
        ("P1DT2H", 93600),
        (" 5 s ", 5),
    ],
)
def test_durations_are_read_as_people_write_them(value: object, expected: float) -> None:
    assert seconds(value, setting="ttl") == pytest.approx(expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value", [None, True, "", "  ", "soon", "5 parsecs", "1h 30", "h", "1 h and 5 m", "PT", [], b"5"]
)
def test_what_is_no_duration_is_refused_by_name_and_value(value: object) -> None:
    with pytest.raises(ConfigurationError, match="handover_ttl=") as caught:
        seconds(value, setting="handover_ttl")  # type: ignore[arg-type]
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    "value", [0, -1, "-5", "0 s", "P0D", float("nan"), "nan", "inf", 10**400, timedelta(0), "400 days"]
)
def test_durations_must_be_above_zero_and_below_a_year(value: object) -> None:
    with pytest.raises(ConfigurationError, match="must be above zero and below a year"):
        seconds(value, setting="ttl")  # type: ignore[arg-type]
