"""The witness finds each kind of wrong history. A judge that never says no proves nothing."""

from __future__ import annotations

import psycopg
import pytest

from airflow_lockprovider.lease import connect
from tests.faults import history, witness
from tests.faults.history import Event
from tests.faults.witness import Change, Takeover, early_ends, lateness, overlaps, takeovers, unrecorded


def _row(change: str, token: int, state: str = "held", **more: object) -> Change:
    return Change(change, "x", token, "host:1", state, **more)  # type: ignore[arg-type]


def _told(what: str, token: int) -> Event:
    return Event(1, 0.0, "x", token, "owner", what)


def test_two_rows_at_once_are_found() -> None:
    two = [_row("insert", 10), _row("insert", 11)]
    assert overlaps(two, {"x": 1}) == ["x: 2 units stood there with token 11"]
    assert overlaps(two, {"x": 2}) == []
    assert overlaps([two[0], _row("update", 10, "released"), two[1]], {"x": 1}), "what drains counts"
    assert overlaps([two[0], _row("delete", 10), two[1]], {"x": 1}) == []


def test_a_renewal_is_not_a_second_row() -> None:
    assert overlaps([_row("insert", 10), _row("update", 10)], {"x": 1}) == []


def test_a_writer_beside_readers_is_found() -> None:
    readers = [_row("insert", 10, shared=True), _row("insert", 11, shared=True)]
    assert overlaps(readers, {"x": 1}) == []
    assert overlaps([*readers, _row("insert", 12)], {"x": 1}) == ["x: writers and readers stood there with token 12"]
    assert overlaps([_row("insert", 12), *readers[:1]], {"x": 1}), "and the other way round"


def test_an_end_before_its_time_is_found_to_the_microsecond() -> None:
    assert early_ends([_row("update", 10, "expired", at=5.0, expires_at=5.000001)], []) == [
        "x: token 10 was expired 0.000001 s before its time"
    ]
    assert early_ends([_row("update", 10, "expired", at=5.0, expires_at=5.0)], []) == []


def test_a_living_lease_that_is_removed_is_found() -> None:
    gone = [_row("delete", 10)]
    assert early_ends(gone, []) == ["x: token 10 was removed while it was held"]
    assert early_ends(gone, [_told("released", 11)])
    assert early_ends(gone, [_told("released", 10)]) == []


def test_what_the_history_does_not_tell_is_found_and_what_it_makes_up() -> None:
    assert unrecorded([_row("insert", 10)], [_told("granted", 10)]) == []
    assert unrecorded([_row("insert", 10)], []) == ["x: token 10 was not told of"]
    assert unrecorded([], [_told("reserved", 10)]) == ["x: token 10 was told of, but never was"]


def _taken_over(waited: float, drained: bool = False) -> list[Change]:
    return [
        _row("insert", 10),
        _row("update", 10, "expired", xact=1, at=5.5, expires_at=5.0),
        _row("delete", 10, "expired", xact=2 if drained else 1),
        _row("insert", 11, created_at=8.0, waited=waited),
    ]


@pytest.mark.parametrize("drained", [False, True])
def test_a_takeover_is_timed_by_the_rows(drained: bool) -> None:
    (one,) = takeovers(_taken_over(3.0, drained), {"x"})
    assert one == Takeover("x", 11, "host:1", 5.0, 8.0, drained)
    assert lateness(one, []) == 3.0
    assert takeovers(_taken_over(3.0, drained), {"y"}) == []


def test_who_came_after_the_end_took_nothing_over_late() -> None:
    assert takeovers(_taken_over(2.9), {"x"}) == []


def test_times_in_which_it_could_not_be_had_are_taken_off_once() -> None:
    (one,) = takeovers(_taken_over(3.0), {"x"})
    assert lateness(one, [(4.0, 6.0)]) == 2.0
    assert lateness(one, [(5.5, 6.5), (6.0, 7.0), (0.0, 5.0), (8.0, 9.0)]) == 1.5


def test_the_trigger_notes_what_the_engine_does_and_finds_nothing_wrong(database: str) -> None:
    engine = connect(database)
    engine.init_schema()
    with psycopg.connect(database, autocommit=True) as sql:
        sql.execute(witness.INSTALL)
        engine.release(engine.renew(engine.try_acquire("x", "first")))
        dead = engine.try_acquire("x", "dead")
        ticket = engine.enqueue("x", owner_id="next", owner="host:7")
        sql.execute("update lockprovider.lease set expires_at = clock_timestamp()")
        engine.reserve(ticket.number)
        new = engine.confirm(ticket.number, "next")
        assert new
        changes, events = witness.read(sql), history.read_events(sql)
    engine.close()
    assert [(one.change, one.state) for one in changes] == [
        ("insert", "held"), ("update", "held"), ("delete", "held"),
        ("insert", "held"), ("update", "held"), ("update", "expired"), ("delete", "expired"),
        ("insert", "reserved"), ("update", "held"),
    ]  # fmt: skip
    assert [*overlaps(changes, {"x": 1}), *early_ends(changes, events), *unrecorded(changes, events)] == []
    (one,) = takeovers(changes, {"x"})
    assert (one.token, one.owner, one.drained) == (new.token, "host:7", False)
    assert new.token > dead.token
    assert one.granted_at >= one.over_at
