"""Grants to waiters: reserve, confirm, withdraw, and what a stale trigger can not do."""

from __future__ import annotations

import pytest

from airflow_lockprovider.lease import ConfigurationError, LeaseEngine, LeaseLost
from tests.conformance.dialects import Dialect


def test_a_reservation_is_confirmed_into_a_lease_and_uses_the_ticket_up(engine: LeaseEngine) -> None:
    ticket = engine.enqueue("x", owner_id="me", owner="dag/run", context={"a": 1})
    reserved = engine.reserve(ticket.number, handover_ttl=20)
    assert (reserved.state, reserved.ticket, reserved.owner) == ("reserved", ticket.number, "dag/run")
    assert 19 < reserved.remaining <= 20
    held = engine.confirm(ticket.number, "me", ttl=300)
    assert (held.state, held.token, held.ttl, held.context) == ("held", reserved.token, 300, {"a": 1})
    assert held.remaining > 299
    assert engine.queue("x") == []
    assert engine.last_event("x", "me") == "confirmed"


def test_a_reservation_keeps_the_lock_and_hides_its_waiter_from_the_line(engine: LeaseEngine) -> None:
    first, second = (engine.enqueue("x", owner_id=name) for name in ("first", "second"))
    reserved = engine.reserve(first.number)
    assert [one.owner_id for one in engine.queue("x")] == ["second"]
    busy = engine.reserve(second.number)
    assert not busy
    assert [(one.token, one.state) for one in busy.leases] == [(reserved.token, "reserved")]
    assert busy.position == 0, "who is reserved stands in line no more"
    assert not engine.try_acquire("x", "newcomer")


def test_reserving_twice_gives_the_same_reservation_not_a_longer_one(dialect: Dialect, engine: LeaseEngine) -> None:
    ticket = engine.enqueue("x", owner_id="me")
    first = engine.reserve(ticket.number, handover_ttl=20)
    again = dialect.engine().reserve(ticket.number, handover_ttl=500)
    assert (again.token, again.expires_at) == (first.token, first.expires_at)


def test_confirming_twice_gives_the_same_lease_not_a_longer_one(dialect: Dialect, engine: LeaseEngine) -> None:
    ticket = engine.enqueue("x", owner_id="me")
    engine.reserve(ticket.number)
    first = engine.confirm(ticket.number, "me", ttl=60)
    again = dialect.engine().confirm(ticket.number, "me", ttl=600)
    assert (again.token, again.expires_at, again.ttl) == (first.token, first.expires_at, 60)


def test_confirm_without_a_reservation_is_a_try_that_keeps_the_place(engine: LeaseEngine) -> None:
    running = engine.try_acquire("x", "running")
    ticket = engine.enqueue("x", owner_id="me")
    busy = engine.confirm(ticket.number, "me")
    assert not busy
    assert [one.token for one in busy.leases] == [running.token]
    engine.release(running)
    assert engine.confirm(ticket.number, "me").ticket == ticket.number


def test_try_acquire_by_somebody_in_line_uses_that_place(engine: LeaseEngine) -> None:
    running = engine.try_acquire("x", "running")
    tickets = {name: engine.enqueue("x", owner_id=name) for name in ("first", "second")}
    engine.release(running)
    assert not engine.try_acquire("x", "second")
    lease = engine.try_acquire("x", "first")
    assert lease.ticket == tickets["first"].number
    assert [one.owner_id for one in engine.queue("x")] == ["second"]


@pytest.mark.parametrize("ending", ["withdrawn", "confirmed", "confirmed and released"])
def test_a_stale_ticket_never_makes_a_ghost_lease(engine: LeaseEngine, ending: str) -> None:
    ticket = engine.enqueue("x", owner_id="me")
    left = []
    if ending == "withdrawn":
        assert engine.withdraw(ticket.number, "me")
    else:
        lease = engine.confirm(ticket.number, "me")
        left = [lease.token]
        if ending == "confirmed and released":
            engine.release(lease)
            left = []
    assert engine.reserve(ticket.number) is None
    assert [one.token for one in engine.leases("x")] == left
    if not left:
        assert engine.confirm(ticket.number, "me") is None
        assert engine.leases("x") == []
        assert engine.try_acquire("x", "somebody"), "and keeps nobody out"


def test_a_ticket_that_never_was_is_gone(engine: LeaseEngine) -> None:
    assert engine.reserve(4711) is None
    assert engine.confirm(4711, "me") is None
    assert not engine.withdraw(4711, "me")


def test_a_ticket_belongs_to_its_owner(engine: LeaseEngine) -> None:
    ticket = engine.enqueue("x", owner_id="me")
    engine.reserve(ticket.number)
    assert engine.confirm(ticket.number, "somebody else") is None
    assert not engine.withdraw(ticket.number, "somebody else")
    assert engine.confirm(ticket.number, "me")


def test_a_lapsed_reservation_keeps_the_ticket(dialect: Dialect, engine: LeaseEngine) -> None:
    ticket = engine.enqueue("x", owner_id="me")
    lapsed = engine.reserve(ticket.number)
    dialect.expire(lapsed)
    assert [one.ticket for one in engine.queue("x")] == [ticket.number], "back in line, in its old place"
    lease = engine.confirm(ticket.number, "me")
    assert lease.token > lapsed.token
    assert lease.ticket == ticket.number
    assert "lapsed" in [event.event for event in engine.history("x")]


def test_after_a_lapse_the_lock_goes_to_whoever_came_first_and_lives(dialect: Dialect, engine: LeaseEngine) -> None:
    first, second = (engine.enqueue("x", owner_id=name) for name in ("first", "second"))
    dialect.expire(engine.reserve(first.number))
    assert not engine.reserve(second.number), "the first was looked after a moment ago"
    dialect.age_waiter(first, engine.settings.skip_after + 1)
    assert engine.reserve(second.number)
    busy = engine.confirm(first.number, "first")
    assert not busy
    assert busy.leases[0].owner_id == "second"


def test_withdrawing_gives_the_reservation_back(engine: LeaseEngine) -> None:
    ticket = engine.enqueue("x", owner_id="me")
    engine.reserve(ticket.number)
    assert engine.withdraw(ticket.number, "me")
    assert not engine.withdraw(ticket.number, "me")
    assert engine.try_acquire("x", "somebody")


def test_withdrawing_after_the_confirm_takes_nothing_away(engine: LeaseEngine) -> None:
    ticket = engine.enqueue("x", owner_id="me")
    lease = engine.confirm(ticket.number, "me")
    assert not engine.withdraw(ticket.number, "me")
    assert engine.renew(lease).token == lease.token


def test_a_reservation_is_nobodys_right_to_write(engine: LeaseEngine) -> None:
    ticket = engine.enqueue("x", owner_id="me")
    reserved = engine.reserve(ticket.number)
    with pytest.raises(LeaseLost, match="it is reserved"):
        with engine.fenced(reserved):
            pytest.fail("the guard let a reservation in")


def test_a_reservation_can_be_renewed_until_it_is_confirmed(engine: LeaseEngine) -> None:
    ticket = engine.enqueue("x", owner_id="me")
    reserved = engine.reserve(ticket.number, handover_ttl=10)
    longer = engine.renew(reserved, ttl=30)
    assert (longer.state, longer.ttl) == ("reserved", 30)
    assert 29 < longer.remaining <= 30
    assert engine.confirm(ticket.number, "me").token == reserved.token


def test_a_poll_says_which_tickets_to_try(engine: LeaseEngine) -> None:
    running = engine.try_acquire("x", "running")
    first, second = (engine.enqueue("x", owner_id=name).number for name in ("first", "second"))
    other = engine.enqueue("y", owner_id="other").number

    def poll() -> dict[int, tuple[str, int]]:
        views = engine.poll("a process", [first, second, other, 4711])
        return {view.number: (view.verdict, view.position) for view in views}

    assert poll() == {first: ("wait", 0), second: ("wait", 1), other: ("try", 0), 4711: ("gone", 0)}
    engine.release(running)
    assert poll() == {first: ("try", 0), second: ("wait", 1), other: ("try", 0), 4711: ("gone", 0)}
    engine.reserve(first)
    assert poll()[first] == ("wait", 0)
    engine.confirm(first, "first")
    assert poll()[first] == ("gone", 0)


def test_polling_keeps_places_alive_and_an_expired_holder_is_worth_a_try(dialect: Dialect, engine: LeaseEngine) -> None:
    dialect.expire(engine.try_acquire("x", "dead holder"))
    ticket = engine.enqueue("x", owner_id="me")
    dialect.age_waiter(ticket, engine.settings.skip_after + 1)
    assert not engine.queue("x")[0].alive
    assert [view.verdict for view in engine.poll("a process", [ticket.number])] == ["try"]
    assert engine.queue("x")[0].alive
    assert engine.reserve(ticket.number)


def test_a_request_that_no_longer_fits_is_told_so_and_holds_nobody_back(engine: LeaseEngine) -> None:
    engine.set_capacity("x", 3)
    big = engine.enqueue("x", owner_id="big", units=3)
    engine.set_capacity("x", 2)
    assert engine.try_acquire("x", "small", units=2)
    assert [view.verdict for view in engine.poll("a process", [big.number])] == ["try"], "the try says what is wrong"
    for verb in (lambda: engine.reserve(big.number), lambda: engine.confirm(big.number, "big")):
        with pytest.raises(ConfigurationError, match="capacity 2, so 3 units can never be granted"):
            verb()
    assert engine.withdraw(big.number, "big")
