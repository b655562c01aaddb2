from __future__ import annotations

from typing import Any

import pytest

from airflow_lockprovider.lease import ConfigurationError, LeaseSettings, connect
from airflow_lockprovider.lease.settings import check_schema


def test_the_defaults_keep_their_own_rules() -> None:
    settings = LeaseSettings()
    assert settings.renewal_period(settings.ttl) == 30
    assert settings.renewal_period(12) == 3, "a quarter of any ttl"
    assert settings.give_up_after(120) == pytest.approx(108)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"ttl": 0}, "ttl=0"),
        ({"handover_ttl": -1}, "handover_ttl=-1"),
        ({"skip_after": float("nan")}, "skip_after=nan"),
        ({"poll_interval": 0}, "poll_interval=0"),
        ({"safety_margin": 0}, "safety_margin=0"),
        ({"safety_margin": 0.5}, "safety_margin=0.5"),
        ({"poll_interval": 10}, "poll_interval=10 must be below skip_after=10"),
        ({"skip_after": 100, "prune_after": 50}, "skip_after=100 must not exceed prune_after=50"),
        ({"renew_every": 0}, "renew_every=0"),
        ({"renew_every": 100}, "ttl=120 must be well above the renewal period of 100 s"),
        ({"renew_every": 90}, "ttl=120 must be well above the renewal period of 90 s"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name_and_value(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        LeaseSettings(**given)
    assert says in str(caught.value)


@pytest.mark.parametrize("schema", ["", "Locks", "a b", 'a"b', "a;drop", "1a", "x" * 57, "a.b"])
def test_a_schema_that_is_no_plain_name_is_refused(schema: str) -> None:
    with pytest.raises(ConfigurationError, match="schema="):
        check_schema(schema)
    with pytest.raises(ConfigurationError, match="schema="):
        connect("postgresql://nowhere", schema=schema)


def test_an_unknown_dialect_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="dialect='oracle' is unknown: use 'postgres'"):
        connect("postgresql://nowhere", dialect="oracle")
