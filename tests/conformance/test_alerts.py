"""Who must be told of which failure: by time and by number, once each, over many processes."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_lockprovider.lease import LeaseEngine, LockProviderError, connect
from airflow_lockprovider.lease.alert_ledger import AlertLedger, Episode
from tests.conformance.dialects import Dialect

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


@pytest.fixture
def ledger(engine: LeaseEngine) -> AlertLedger:
    return AlertLedger(engine.store)


def fails(ledger: AlertLedger, seconds: float, *, key: str = "task/a.b", part: str = "") -> Episode | None:
    """A failure at that second; the episode, if somebody must be told."""
    tell, episode = ledger.seen(key, "a.b failed", part=part, at=after(seconds))
    return episode if tell else None


def test_first_failure_is_told_at_once(ledger: AlertLedger):
    episode = fails(ledger, 0)
    assert episode == Episode("task/a.b", "a.b failed", 1, NOON, told=0, known=0, told_at=None)


def test_failures_in_a_row_are_told_at_growing_intervals_with_their_number(ledger: AlertLedger):
    told = [
        (minute, episode.occurrences, episode.unknown)
        for minute in range(181)
        if (episode := fails(ledger, minute * 60.0))
    ]
    # At 0, one minute, five, thirty, two hours after the last; and at the 10th and the 100th failure.
    assert told == [(0, 1, 1), (1, 2, 1), (6, 7, 5), (9, 10, 3), (99, 100, 90)]


def test_a_later_message_knows_what_was_told_when(ledger: AlertLedger):
    fails(ledger, 0)
    assert [fails(ledger, second) for second in (1, 2, 3)] == [None, None, None]
    episode = fails(ledger, 61)
    assert episode is not None
    assert (episode.occurrences, episode.unknown, episode.told, episode.told_at) == (5, 4, 1, NOON)


def test_one_failure_that_is_reported_twice_counts_once(ledger: AlertLedger):
    told = [ledger.seen("a", "a", occurrence="run 1 try 1", at=after(n))[0] for n in range(3)]
    _, episode = ledger.seen("a", "a", occurrence="run 1 try 2", at=after(3))
    assert told == [True, False, False]
    assert episode.occurrences == 2


def test_a_late_report_of_what_was_told_and_is_over_tells_nobody(ledger: AlertLedger):
    ledger.seen("a", "a", occurrence="monday", at=after(0))
    ledger.over(["a"], at=after(86_400))
    tell, _ = ledger.seen("a", "a", occurrence="monday", at=after(90_000))
    assert not tell
    assert ledger.open() == []


def test_recovery_is_told_once_and_only_of_what_was_told(ledger: AlertLedger):
    assert ledger.over(["task/a.b"], at=NOON) == []
    for second in range(5):
        fails(ledger, second)
    (episode,) = ledger.over(["task/a.b", "task/other"], at=after(6))
    assert (episode.occurrences, episode.first_seen, episode.unknown) == (5, NOON, 4)
    assert ledger.over(["task/a.b"], at=after(7)) == []


def test_what_breaks_and_works_by_turns_is_no_news_every_time(ledger: AlertLedger):
    messages = []
    for second in range(0, 3600, 10):
        if second % 20:
            messages += [("works", second) for _ in ledger.over(["task/a.b"], at=after(second))]
        elif fails(ledger, second):
            messages.append(("fails", second))
    assert len(messages) <= 14
    assert [what for what, _ in messages] == ["fails", "works"] * (len(messages) // 2)


def test_a_failure_long_after_the_recovery_is_news_again(ledger: AlertLedger):
    fails(ledger, 0)
    ledger.over(["task/a.b"], at=after(5))
    assert fails(ledger, 30) is None
    ledger.over(["task/a.b"], at=after(35))
    episode = fails(ledger, 7200)
    assert episode is not None
    assert (episode.occurrences, episode.told, episode.first_seen) == (1, 0, after(7200))


def test_a_mapped_task_works_again_when_all_its_parts_do(ledger: AlertLedger):
    for part in ("0", "1"):
        ledger.seen("a", "a", part=part, occurrence=f"run 1 [{part}]", at=NOON)
    assert ledger.over(["a"], part="0", at=after(1)) == []
    assert [episode.occurrences for episode in ledger.over(["a"], part="1", at=after(2))] == [2]


def test_a_part_that_never_came_back_holds_a_recovery_up_for_a_day_at_most(ledger: AlertLedger):
    for part in ("0", "7"):
        ledger.seen("a", "a", part=part, occurrence=f"run 1 [{part}]", at=NOON)
    assert ledger.over(["a"], part="0", at=after(3600)) == []
    ledger.seen("a", "a", part="0", occurrence="run 2 [0]", at=after(90_000))
    assert len(ledger.over(["a"], part="0", at=after(90_001))) == 1


def test_message_that_reached_nobody_is_due_again_after_a_minute(ledger: AlertLedger):
    episode = fails(ledger, 0)
    assert episode is not None
    ledger.untold(episode, at=after(1))
    assert ledger.over(["task/none"], at=after(1)) == []
    assert fails(ledger, 30) is None
    again = fails(ledger, 62)
    assert again is not None
    assert (again.told, again.unknown, again.occurrences) == (0, 3, 3)


def test_what_people_know_is_what_they_knew_before_a_message_that_reached_nobody(ledger: AlertLedger):
    fails(ledger, 0)
    second = fails(ledger, 61)
    assert second is not None
    ledger.untold(second, at=after(62))
    third = fails(ledger, 200)
    assert third is not None
    assert (third.told, third.unknown, third.told_at) == (1, 2, NOON)


def test_recovery_of_which_nobody_was_told_is_told_by_the_next_success(ledger: AlertLedger):
    fails(ledger, 0)
    (episode,) = ledger.over(["task/a.b"], at=after(5))
    ledger.untold(episode, recovered=True, at=after(6))
    assert [one.key for one in ledger.over(["task/a.b"], at=after(7))] == ["task/a.b"]


def test_recovery_of_a_failure_of_which_nobody_was_told_is_no_news(ledger: AlertLedger):
    episode = fails(ledger, 0)
    assert episode is not None
    ledger.untold(episode, at=after(1))
    assert ledger.over(["task/a.b"], at=after(5)) == []


def test_what_grew_inside_a_pause_is_due_when_the_pause_is_over(ledger: AlertLedger):
    for _ in range(5):
        fails(ledger, 0)
    fails(ledger, 0, key="task/quiet")
    assert ledger.due(at=after(59)) == []
    (episode,) = ledger.due("task/", at=after(60))
    assert (episode.key, episode.occurrences, episode.unknown, episode.told_at) == ("task/a.b", 5, 4, NOON)
    assert ledger.due("task/", at=after(61)) == []
    assert ledger.due("other/", at=after(10_000)) == []


def test_who_only_looks_finds_out_whether_people_know_and_are_not_to_hear_of_it_yet(ledger: AlertLedger):
    assert ledger.quiet("task/a.b", at=NOON) is None
    episode = fails(ledger, 0)
    assert episode is not None
    fails(ledger, 1)
    looked = ledger.quiet("task/a.b", at=after(59))
    assert looked is not None
    assert (looked.occurrences, looked.unknown, looked.told, looked.told_at) == (2, 1, 1, NOON)
    assert ledger.quiet("task/a", at=after(59)) is None
    assert ledger.quiet("task/a.b", at=after(60)) is None
    ledger.untold(episode, at=after(2))
    assert ledger.quiet("task/a.b", at=after(3)) is None
    fails(ledger, 62)
    ledger.over(["task/a.b"], at=after(63))
    assert ledger.quiet("task/a.b", at=after(64)) is None


def test_a_prefix_is_text_and_no_pattern(ledger: AlertLedger):
    fails(ledger, 0, key="100%_x/a")
    fails(ledger, 0, key="100 percent/a")
    assert ledger.open("100%_") == ["100%_x/a"]


def test_without_a_moment_it_is_now_by_the_databases_clock(ledger: AlertLedger):
    before = datetime.now(UTC) - timedelta(seconds=2)  # a clock of the database may have whole seconds
    tell, episode = ledger.seen("a", "a")
    assert tell
    assert before <= episode.first_seen <= datetime.now(UTC) + timedelta(seconds=2)
    tell, episode = ledger.seen("a", "a")
    assert (tell, episode.occurrences) == (False, 2)
    assert episode.told_at == episode.first_seen
    assert ledger.due() == []
    ledger.untold(episode)
    assert [one.occurrences for one in ledger.over(["a"])] == []


@pytest.mark.parametrize("zone", [timezone(timedelta(hours=9)), UTC])
def test_a_moment_counts_the_same_in_any_zone(ledger: AlertLedger, zone: timezone):
    ledger.seen("a", "a", at=NOON.astimezone(zone))
    tell, episode = ledger.seen("a", "a", at=after(59).astimezone(zone))
    assert (tell, episode.first_seen) == (False, NOON)
    tell, episode = ledger.seen("a", "a", at=after(60).astimezone(zone))
    assert (tell, episode.told_at) == (True, NOON)


def test_a_failure_is_remembered_for_seven_days(ledger: AlertLedger, dialect: Dialect):
    week = 7 * 86_400
    ledger.seen("a", "a", occurrence="old", at=NOON)
    ledger.seen("b", "b", occurrence="young", at=after(1))
    ledger.seen("c", "c", occurrence="new", at=after(week + 1))
    left = dialect.query("select occurrence from lockprovider.alert_occurrence order by 1")
    assert left == ["new", "young"]
    assert ledger.seen("b", "b", occurrence="young", at=after(week + 1))[1].occurrences == 1
    assert ledger.seen("a", "a", occurrence="old", at=after(week + 1))[1].occurrences == 2


@pytest.mark.parametrize("key", ["", "k" * 501])
def test_a_key_has_1_to_500_characters(ledger: AlertLedger, key: str):
    with pytest.raises(LockProviderError):
        ledger.seen(key, "a", at=NOON)
    assert ledger.open() == []
    assert ledger.seen("ö" * 500, "a", at=NOON)[0]


def test_any_text_is_kept_as_it_is(ledger: AlertLedger):
    key, title = "it's 100%s of naïve\\ 🔒 o'hara; --", 'a "title" with %(part)s'
    ledger.seen(key, title, part="o'hara", occurrence="1", at=NOON)
    assert ledger.open("it's 100%") == [key]
    (episode,) = ledger.over([key], part="o'hara", at=after(1))
    assert (episode.key, episode.title) == (key, title)


def test_pauses_of_ones_own_are_kept_to_the_last_one_for_all_that_follow(ledger: AlertLedger):
    told = [
        second for second in range(0, 100, 5) if ledger.seen("a", "a", pauses=[10.0, 30.0], at=after(float(second)))[0]
    ]
    # At once, after 10 s, every 30 s from then on; and the 10th.
    assert told == [0, 10, 40, 45, 75]


def _storm(dialect: str, dsn: str, worker: int, times: int, told: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    engine = connect(dsn, dialect=dialect)
    ledger = AlertLedger(engine.store)
    for number in range(times):
        tell, episode = ledger.seen(
            "task/a.b", "a.b failed", occurrence=f"{worker}/{number}", at=after(60 * number / times)
        )
        if tell:
            told.put(episode.occurrences)
    told.put(None)
    engine.close()


def test_a_storm_from_several_processes_is_counted_exactly_and_told_a_few_times(ledger: AlertLedger, dialect: Dialect):
    processes, times = 4, 250
    spawn = multiprocessing.get_context("spawn")
    told = spawn.Queue()
    workers = [
        spawn.Process(target=_storm, args=(dialect.name, dialect.dsn, number, times, told))
        for number in range(processes)
    ]
    for process in workers:
        process.start()
    counts, ended = [], 0
    while ended < processes:
        answer = told.get(timeout=60)
        ended += answer is None
        counts += [] if answer is None else [answer]
    for process in workers:
        process.join(timeout=10)

    assert sorted(counts) == [1, 10, 100, 1000]
    (episode,) = ledger.over(["task/a.b"], at=after(120))
    assert (episode.occurrences, episode.unknown) == (1000, 0)


def test_of_many_who_tell_of_one_failure_or_its_end_one_is_to_tell_people(dialect: Dialect):
    """One failure is reported by several processes, and so is its end, and what is due."""
    engines = [dialect.engine() for _ in range(4)]

    def at_once(ask: Callable[[AlertLedger], Any]) -> list[Any]:
        start = threading.Barrier(len(engines))

        def one(engine: LeaseEngine) -> Any:
            try:
                start.wait()
                return ask(AlertLedger(engine.store))
            finally:
                engine.store.close()

        with ThreadPoolExecutor(len(engines)) as pool:
            return list(pool.map(one, engines))

    for number in range(5):
        key = f"task/{number}"
        told = at_once(lambda ledger, key=key: ledger.seen(key, "a", occurrence="1", at=NOON))
        assert sorted(tell for tell, _ in told) == [False, False, False, True]
        assert {episode.occurrences for tell, episode in told if tell} == {1}
        counted = at_once(lambda ledger, key=key: ledger.seen(key, "a", at=after(1))[1].occurrences)
        assert sorted(counted) == [2, 3, 4, 5]
        due = at_once(lambda ledger: ledger.due("task/", at=after(70)))
        assert [episode.unknown for some in due for episode in some] == [4]
        over = at_once(lambda ledger, key=key: ledger.over([key], at=after(80)))
        assert [episode.occurrences for some in over for episode in some] == [5]
