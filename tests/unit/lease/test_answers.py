from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
from fake_engine import a_lease

from airflow_lockprovider.lease import Busy, errors


def test_a_lease_is_true_and_busy_is_false() -> None:
    assert a_lease()
    assert not Busy("x")


@pytest.mark.parametrize(
    ("busy", "says"),
    [
        (Busy("x", paused=True), "lock 'x' is busy: it is paused"),
        (Busy("x", position=2), "lock 'x' is busy: others are next in line; 2 before us in line"),
        (
            Busy("x", (a_lease(),)),
            "lock 'x' is busy: held by dag/run since 2026-01-01 12:30:00+0000 (token 7, held)",
        ),
        (
            Busy("x", (replace(a_lease(), state="expired"), a_lease(), a_lease())),
            "lock 'x' is busy: held by dag/run since 2026-01-01 12:30:00+0000 (token 7, expired) and 2 more",
        ),
    ],
)
def test_busy_says_why(busy: Busy, says: str) -> None:
    assert str(busy) == says


@pytest.mark.parametrize("name", [name for name in vars(errors) if isinstance(vars(errors)[name], type)])
def test_every_error_survives_pickling_with_all_it_carries(name: str) -> None:
    kind = vars(errors)[name]
    error = kind("why", lock_name="x") if issubclass(kind, errors.LeaseError) else kind("why")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == "why"
    assert getattr(copy, "lock_name", None) == getattr(error, "lock_name", None)
    assert isinstance(copy, errors.LockProviderError)
