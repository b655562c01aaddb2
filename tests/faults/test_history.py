"""The history checker finds each kind of wrong history. A judge that never says no proves nothing."""

from __future__ import annotations

from tests.faults.history import (
    Event,
    Write,
    late_writes,
    lost_updates,
    lost_waiters,
    overlaps,
    overtaken,
    shrinking_tokens,
)


def _events(*lines: tuple[str, int, dict[str, object]] | tuple[str, int]) -> list[Event]:
    """Events of one lock, a second apart: what happened, to which token, and what else."""
    return [
        Event(
            **{
                "event_id": number, "at": float(number), "lock_name": "x", "owner_id": f"owner {line[1]}",
                "event": line[0], "token": line[1], **(line[2] if len(line) > 2 else {}),
            }
        )
        for number, line in enumerate(lines, start=1)
    ]  # fmt: skip


GOOD = _events(("granted", 10), ("released", 10), ("granted", 11), ("expired", 11), ("granted", 12))


def test_a_right_history_is_found_right() -> None:
    writes = [Write("x", 10, 0, 1.5), Write("x", 11, 1, 3.1), Write("x", 12, 2, 6.0)]
    assert overlaps(GOOD, {"x": 1}) == []
    assert shrinking_tokens(GOOD) == []
    assert late_writes(GOOD, writes, {"x"}) == []
    assert lost_updates(writes, {"x": 3}) == []
    assert lost_waiters(GOOD, [("x", "owner 12")], set()) == []
    assert overtaken(GOOD) == []


def test_two_at_once_are_found() -> None:
    assert overlaps(_events(("granted", 10), ("granted", 11)), {"x": 1}) == [
        "x: 2 units were out at the grant of token 11"
    ]
    assert overlaps(_events(("granted", 10), ("granted", 11)), {"x": 2}) == []
    assert overlaps(_events(("granted", 10, {"units": 2}), ("granted", 11)), {"x": 2})
    assert overlaps(_events(("granted", 10), ("reserved", 11)), {"x": 1}), "a reservation counts"


def test_a_writer_beside_readers_is_found() -> None:
    both = _events(("granted", 10, {"shared": True}), ("granted", 11, {"shared": True}), ("granted", 12))
    assert overlaps(both[:2], {"x": 1}) == []
    assert overlaps(both, {"x": 1}) == ["x: writers and readers were inside at the grant of token 12"]


def test_an_end_without_a_beginning_is_found() -> None:
    assert overlaps(_events(("granted", 10), ("released", 10), ("expired", 10)), {"x": 1}) == [
        "x: token 10 was expired, but was not out"
    ]


def test_a_token_that_does_not_grow_is_found() -> None:
    assert shrinking_tokens(_events(("granted", 11), ("released", 11), ("granted", 10))) == [
        "x: token 10 came after 11"
    ]
    assert shrinking_tokens(_events(("granted", 11), ("released", 11), ("reserved", 11)))


def test_a_lost_update_is_found_by_the_value_it_was_made_from() -> None:
    assert lost_updates([Write("x", 10, 0, 1.0), Write("x", 11, 0, 2.0)], {"x": 2}) == [
        "x: the increment from 0 was made twice"
    ]


def test_a_lost_update_is_found_by_the_sum() -> None:
    assert lost_updates([Write("x", 10, 0, 1.0), Write("x", 11, 1, 2.0)], {"x": 1}) == [
        "x: 2 increments were committed, the counter says 1"
    ]
    assert lost_updates([], {"x": 1}), "an increment that nobody noted"


def test_a_write_of_a_late_owner_is_found_by_its_time() -> None:
    assert late_writes(GOOD, [Write("x", 10, 0, 3.5)], {"x"}) == [
        "x: a write under token 10 came 0.500 s after 11 was granted"
    ]
    assert late_writes(GOOD, [Write("x", 10, 0, 3.5)], set()) == [], "with a capacity above one that says nothing"


def test_a_write_of_a_late_owner_is_found_by_its_place() -> None:
    (finding,) = late_writes(GOOD, [Write("x", 11, 0, 3.1), Write("x", 10, 1, 1.5)], {"x"})
    assert finding == "x: the increment from 1 under token 10 came after 11's"


def test_a_write_under_a_token_that_never_was_is_found() -> None:
    assert late_writes(GOOD, [Write("x", 99, 0, 1.5)], {"x"})


def test_a_lost_waiter_is_found() -> None:
    asked = [("x", "owner 12"), ("x", "nobody")]
    assert lost_waiters(GOOD, asked, set()) == ["x: the request of nobody was lost"]
    assert lost_waiters(GOOD, asked, {("x", "nobody")}) == [], "it is still in line"
    only_reserved = _events(("reserved", 10), ("lapsed", 10))
    assert lost_waiters(only_reserved, [("x", "owner 10")], set()), "a reservation alone is no end"


def test_an_overtaken_waiter_is_found() -> None:
    assert overtaken(_events(("granted", 10, {"ticket": 2}), ("granted", 11, {"ticket": 1}))) == [
        "x: ticket 1 came after 2"
    ]
