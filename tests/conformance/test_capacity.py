"""Capacity, units, readers and writers, pauses."""

from __future__ import annotations

import pytest

from airflow_lockprovider.lease import ConfigurationError, LeaseEngine


def test_never_more_units_are_out_than_there_are(engine: LeaseEngine) -> None:
    two = engine.try_acquire("x", units=2, capacity=3)
    assert two
    assert not engine.try_acquire("x", units=2)
    assert engine.try_acquire("x", units=1)
    assert not engine.try_acquire("x", units=1)
    engine.release(two)
    assert engine.try_acquire("x", units=2, capacity=3)


def test_a_big_request_in_line_is_not_overtaken_by_small_ones(engine: LeaseEngine) -> None:
    one = engine.try_acquire("x", "one", units=2, capacity=3)
    big = engine.enqueue("x", owner_id="big", units=3)
    assert not engine.try_acquire("x", "small", units=1), "one unit is free, but it is the big one's turn"
    engine.release(one)
    assert engine.confirm(big.number, "big").units == 3


def test_a_contradicting_capacity_is_an_error_that_names_both(engine: LeaseEngine) -> None:
    assert engine.try_acquire("x", capacity=3)
    with pytest.raises(ConfigurationError, match=r'"x" has capacity 3, but capacity 5 was declared.*set_capacity'):
        engine.try_acquire("x", capacity=5)
    with pytest.raises(ConfigurationError, match="has capacity 3, but capacity 1"):
        engine.enqueue("x", owner_id="me", capacity=1)
    assert engine.try_acquire("x"), "no declared capacity takes the row's"
    assert engine.queue("x") == []


def test_a_new_lock_is_a_mutex(engine: LeaseEngine) -> None:
    assert engine.try_acquire("x")
    with pytest.raises(ConfigurationError, match="has capacity 1, but capacity 2"):
        engine.try_acquire("x", capacity=2)


def test_more_units_than_there_are_is_refused_at_once(engine: LeaseEngine) -> None:
    engine.set_capacity("x", 2)
    for verb in (engine.try_acquire, engine.acquire, engine.enqueue):
        with pytest.raises(ConfigurationError, match="capacity 2, so 3 units can never be granted"):
            verb("x", owner_id="me", units=3)
    for bad in (0, -1, 1.5, True):
        with pytest.raises(ConfigurationError, match="units="):
            engine.try_acquire("x", units=bad)  # type: ignore[arg-type]


def test_capacity_can_shrink_below_what_is_out(engine: LeaseEngine) -> None:
    engine.set_capacity("x", 3)
    leases = [engine.try_acquire("x") for _ in range(3)]
    engine.set_capacity("x", 1)
    assert engine.renew(leases[0]), "leases that are out stay"
    for lease in leases[:2]:
        engine.release(lease)
        assert not engine.try_acquire("x")
    engine.release(leases[2])
    assert engine.try_acquire("x")
    assert not engine.try_acquire("x")


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_capacity_below_one_is_refused(engine: LeaseEngine, capacity: int) -> None:
    with pytest.raises(ConfigurationError, match="at least 1"):
        engine.set_capacity("x", capacity)


def test_readers_share_and_a_writer_is_alone(engine: LeaseEngine) -> None:
    readers = [engine.try_acquire("x", shared=True) for _ in range(3)]
    assert all(readers)
    assert not engine.try_acquire("x", "writer")
    for reader in readers:
        engine.release(reader)
    assert engine.try_acquire("x", "writer")
    assert not engine.try_acquire("x", shared=True)


def test_a_waiting_writer_is_not_overtaken_by_new_readers(engine: LeaseEngine) -> None:
    reader = engine.try_acquire("x", "reader", shared=True)
    writer = engine.enqueue("x", owner_id="writer")
    behind = [engine.enqueue("x", owner_id=name, shared=True) for name in ("b1", "b2")]
    assert not engine.try_acquire("x", "new reader", shared=True)
    assert not engine.confirm(behind[0].number, "b1")
    engine.release(reader)
    lease = engine.confirm(writer.number, "writer")
    assert lease
    engine.release(lease)
    assert engine.confirm(behind[1].number, "b2"), "two readers do not stand in each other's way"
    assert engine.confirm(behind[0].number, "b1")


def test_a_paused_lock_grants_nothing_until_it_is_resumed(engine: LeaseEngine) -> None:
    assert not engine.pause("x", by="ann", reason="no such lock yet")
    held = engine.try_acquire("x", "holder")
    ticket = engine.enqueue("x", owner_id="waiter")
    assert engine.pause("x", by="ann", reason="repairs")
    assert engine.renew(held), "who holds it goes on"
    engine.release(held)
    for answer in (
        engine.try_acquire("x", "newcomer"),
        engine.reserve(ticket.number),
        engine.confirm(ticket.number, "waiter"),
    ):
        assert not answer
        assert answer.paused
        assert "it is paused" in str(answer)
    assert [view.verdict for view in engine.poll("a process", [ticket.number])] == ["wait"]
    assert engine.resume("x", by="ann")
    assert not engine.resume("x", by="ann")
    assert engine.confirm(ticket.number, "waiter")
    told = [(event.event, event.actor, event.reason) for event in engine.history("x")]
    assert ("paused", "ann", "repairs") in told
    assert ("resumed", "ann", None) in told


def test_a_writer_is_not_starved_by_a_stream_of_readers(engine: LeaseEngine) -> None:
    readers = [engine.try_acquire("x", shared=True)]
    writer = engine.enqueue("x", owner_id="writer")
    tickets = []
    for turn in range(10):
        assert not engine.try_acquire("x", f"reader {turn}", shared=True)
        tickets.append(engine.enqueue("x", owner_id=f"reader {turn}", shared=True))
        assert not engine.confirm(tickets[-1].number, f"reader {turn}")
    engine.release(readers[0])
    lease = engine.confirm(writer.number, "writer")
    assert lease, "one reader had to end, not all that ever come"
    assert not engine.confirm(tickets[0].number, "reader 0")
    engine.release(lease)
    assert all(engine.confirm(ticket.number, ticket.owner_id) for ticket in tickets), "then all of them at once"


def test_growing_lets_the_next_in_line_in(engine: LeaseEngine) -> None:
    engine.try_acquire("x", "holder")
    one, two = (engine.enqueue("x", owner_id=name) for name in ("one", "two"))
    assert [view.verdict for view in engine.poll("a process", [one.number, two.number])] == ["wait", "wait"]
    engine.set_capacity("x", 2)
    assert [view.verdict for view in engine.poll("a process", [one.number, two.number])] == ["try", "wait"]
    assert engine.reserve(one.number)
    assert not engine.reserve(two.number)


def test_shrinking_keeps_what_is_out_and_lets_nobody_in_until_it_fits(engine: LeaseEngine) -> None:
    engine.set_capacity("x", 4)
    leases = [engine.try_acquire("x", units=2), engine.try_acquire("x")]
    waiter = engine.enqueue("x", owner_id="waiter", units=2)
    engine.set_capacity("x", 2)
    assert not engine.confirm(waiter.number, "waiter")
    engine.release(leases[0])
    assert not engine.confirm(waiter.number, "waiter"), "one unit is out, two are wanted, there are two"
    engine.release(leases[1])
    assert engine.confirm(waiter.number, "waiter")
