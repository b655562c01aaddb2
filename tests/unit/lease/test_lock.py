from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_lockprovider.lease import ConfigurationError, Lock


def test_a_name_alone_is_a_mutex_with_everything_else_left_to_the_settings() -> None:
    lock = Lock.of("dwh.sales")
    assert lock == Lock("dwh.sales")
    assert lock is not None
    assert (lock.ttl, lock.capacity, lock.units, lock.shared, lock.on_busy) == (None, None, 1, False, "wait")


def test_a_mapping_as_in_yaml_is_read() -> None:
    assert Lock.of({"name": "x", "ttl": "2 mins", "units": 2, "capacity": 3}) == Lock("x", ttl=120, units=2, capacity=3)
    assert Lock.of({"lock_name": "x", "wait_timeout": timedelta(hours=1)}) == Lock("x", wait_timeout=3600)


def test_lock_duration_is_both_the_ttl_and_the_expected_hold() -> None:
    assert Lock.of({"lock_status": "enable", "lock_duration": "10 mins"}, default_name="dag.task") == Lock(
        "dag.task", ttl=600, expected_hold=600
    )
    assert Lock.of({"name": "x", "lock_duration": 600, "expected_hold": 60}) == Lock("x", ttl=600, expected_hold=60)


@pytest.mark.parametrize("status", ["disable", "disabled", "off", False])
def test_a_disabled_lock_is_none(status: object) -> None:
    assert Lock.of({"name": "x", "lock_status": status}) is None


def test_a_lock_is_taken_as_it_is_and_can_be_renamed() -> None:
    lock = Lock("{{ params.t }}", ttl=5, capacity=2)
    assert Lock.of(lock, default_name="other") is lock
    assert lock.named("dwh.sales") == Lock("dwh.sales", ttl=5, capacity=2)
    with pytest.raises(ConfigurationError, match="is empty"):
        lock.named("")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"name": "x", "tll": 5}, "unknown 'tll': known are"),
        ({"name": "x", "lock_status": "maybe"}, "lock_status='maybe'"),
        ({"ttl": 5}, "has no name: add name="),
        ({"name": "x", "ttl": "soon"}, "ttl of lock 'x'='soon'"),
        ({"name": "x", "ttl": 0}, "must be above zero"),
        ({"name": "x", "units": 0}, "units=0 of lock 'x'"),
        ({"name": "x", "units": True}, "units=True"),
        ({"name": "x", "capacity": "3"}, "capacity='3'"),
        ({"name": "x", "units": 3, "capacity": 2}, "units=3 of capacity=2: it could never be granted"),
        ({"name": "x", "priority": "high"}, "priority='high'"),
        ({"name": "x", "on_busy": "explode"}, "on_busy='explode'"),
        ({"name": "x", "standby": "often"}, "standby='often'"),
        ({"name": "x", "shared": "yes"}, "shared='yes'"),
        ({"name": ""}, "is empty"),
        ({"name": None}, "has no name"),
        ({"name": 5}, "lock name 5"),
        (5, "not int"),
        (None, "not NoneType"),
        (["a"], "not list"),
    ],
)
def test_what_cannot_work_is_refused_by_name_and_value(value: Any, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Lock.of(value)
    assert says in str(caught.value)
