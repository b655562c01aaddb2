"""Whether the benchmarks count what they say they count, and run; not what they measure."""

from __future__ import annotations

import pytest

from airflow_lockprovider.lease import connect
from tests.bench.airflow import Handover
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


def test_gaps_are_counted_from_the_end_of_a_body_to_the_start_of_the_next_one():
    seen = Handover.of([(12.0, 13.0), (10.0, 11.0), (13.25, 14.5)]).as_dict()

    assert seen == {"total s": 4.5, "gap p50 s": 0.625, "gap max s": 1.0, "gap min s": 0.25}


def test_bodies_that_overlap_have_a_gap_below_zero():
    assert Handover.of([(10.0, 12.0), (11.5, 13.0)]).gaps == [-0.5]
