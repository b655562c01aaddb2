"""Whether the benchmarks count what they say they count, and run; not what they measure."""

from __future__ import annotations

import pytest

from airflow_lockprovider.lease import connect
from tests.bench.contention import contend, percentile, summary
from tests.bench.peers import OURS, Servers
from tests.bench.scale import scale
from tests.bench.uncontended import uncontended

MS = 1_000_000


def test_a_hand_over_counts_only_for_somebody_who_was_waiting():
    first = [(0, 1 * MS, 10 * MS), (40 * MS, 41 * MS, 50 * MS)]  # asks again long after the other one has finished
    second = [(5 * MS, 12 * MS, 20 * MS)]

    seen = summary([first, second])

    assert (seen.handover_p50, seen.handover_p99) == (2.0, 2.0)
    assert seen.grants == 3
    assert seen.fairness == 2.0
    assert (seen.worst_wait, seen.mean_wait) == (7.0, pytest.approx(3.0))


def test_percentiles_are_values_that_were_seen():
    assert percentile([3.0, 1.0, 2.0], 50) == 2.0
    assert percentile([3.0, 1.0, 2.0], 99) == 3.0


def test_the_measurements_run(database):
    connect(database).init_schema()
    seen = contend(OURS, Servers(database, None), contenders=2, seconds=1.0, hold=0.01)
    assert seen.contenders == 2
    assert seen.grants >= 2
    assert uncontended(database, pairs=50)["pairs"] == 50
    found = scale(database, names=5, waiters=5, events=5)
    assert found["ratios"]["one of everything"] == 1.0
    assert len(found["ratios"]) == 6
