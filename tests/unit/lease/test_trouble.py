"""When people hear of a trouble, with the time passed in."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from airflow_lockprovider.lease.redshift.trouble import Trouble, is_missed

NOON = datetime(2026, 11, 21, 12)  # noqa: DTZ001  as the database has it
PAUSES = (60.0, 300.0)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def told() -> Trouble:
    """One that has failed at noon, of which people were told."""
    trouble = Trouble.new("a", "a failed", NOON)
    assert trouble.fails("a failed", NOON)
    trouble.tell(PAUSES, NOON)
    return trouble


def test_the_first_failure_is_told_and_begins_a_pause():
    trouble = told()
    assert (trouble.occurrences, trouble.told, trouble.told_occurrences) == (1, 1, 1)
    assert (trouble.told_at, trouble.due_at, trouble.announced) == (NOON, after(60), True)


@pytest.mark.parametrize(("second", "tells"), [(59, False), (60, True), (61, True)])
def test_a_failure_is_told_again_from_the_moment_the_pause_is_over(second: int, tells: bool):
    assert told().fails("a failed", after(second)) is tells


def test_the_last_pause_holds_for_all_further_messages():
    trouble = told()
    for number in (2, 3, 4):
        trouble.tell(PAUSES, after(number))
        assert trouble.due_at == after(number + 300)


def test_inside_a_pause_a_tenfold_number_is_told():
    trouble = told()
    tells = [number for number in range(2, 2001) if trouble.fails("a failed", after(1))]
    assert tells == [10, 100, 1000]


def test_an_end_is_told_only_of_what_was_told():
    trouble = told()
    assert trouble.works() is True
    assert (trouble.is_open, trouble.announced) == (False, False)
    untold = Trouble.new("a", "a failed", NOON)
    untold.fails("a failed", NOON)
    assert untold.works() is False
    assert not untold.is_open


@pytest.mark.parametrize(("second", "goes_on"), [(59, True), (60, True), (61, False)])
def test_an_episode_goes_on_within_its_pause_and_begins_anew_after_it(second: int, goes_on: bool):
    trouble = told()
    trouble.works()
    trouble.fails("a failed again", after(second))
    assert trouble.title == "a failed again"
    assert (trouble.occurrences, trouble.first_seen) == ((2, NOON) if goes_on else (1, after(second)))
    assert trouble.told == (1 if goes_on else 0)


def test_a_message_that_reached_nobody_is_due_after_a_minute_at_the_latest():
    trouble = told()
    trouble.fails("a failed", after(60))
    trouble.tell(PAUSES, after(60))
    trouble.unreached(1, NOON, after(61))
    assert (trouble.told, trouble.told_occurrences, trouble.told_at) == (1, 1, NOON)
    assert (trouble.announced, trouble.due_at) == (True, after(121))
    trouble.unreached(0, None, after(62))
    assert (trouble.told, trouble.told_at, trouble.announced) == (0, None, False)
    assert trouble.due_at == after(121)
    trouble.unreached(0, None, after(63))
    assert trouble.told == 0


def test_an_end_that_reached_nobody_is_open_again_unless_it_has_failed_meanwhile():
    trouble = told()
    assert trouble.end_unreached() is False
    trouble.works()
    assert trouble.end_unreached() is True
    assert (trouble.is_open, trouble.announced) == (True, True)


def test_what_has_grown_is_due_when_its_pause_is_over():
    trouble = told()
    assert not trouble.grown(after(60))
    trouble.fails("a failed", after(1))
    assert [trouble.grown(after(second)) for second in (59, 60)] == [False, True]
    trouble.works()
    assert not trouble.grown(after(60))


def test_people_who_know_are_left_alone_until_their_pause_is_over():
    trouble = told()
    assert [trouble.quiet(after(second)) for second in (59, 60)] == [True, False]
    trouble.unreached(0, None, NOON)
    assert not trouble.quiet(after(1))
    trouble = told()
    trouble.works()
    assert not trouble.quiet(after(1))


def test_a_part_that_never_came_back_counts_for_a_day():
    assert is_missed(NOON, after(86_399))
    assert not is_missed(NOON, after(86_400))
