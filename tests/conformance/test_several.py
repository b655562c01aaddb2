"""Several locks at once: all or nothing, one place in all lines, never a circle of waiters."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_lockprovider.lease import (
    Busy,
    ConfigurationError,
    LeaseEngine,
    LeaseLost,
    LeaseSet,
    LeaseWaitTimeout,
    Lock,
)
from tests.conformance.dialects import Dialect


def test_a_set_is_granted_as_a_whole_with_a_token_per_lock(engine: LeaseEngine) -> None:
    both = engine.try_acquire(["b", "a"], "me", ttl=60, context={"k": 1})
    assert isinstance(both, LeaseSet)
    assert list(both) == ["a", "b"], "in the order of the names, whatever was asked"
    assert both.tokens == {lease.lock_name: lease.token for lease in engine.leases(owner_id="me")}
    assert both["a"].expires_at == both["b"].expires_at, "they end together"
    assert (both.owner_id, both.ttl, both["b"].context) == ("me", 60, {"k": 1})
    assert "c" not in both
    assert "'a' (token" in str(both)


def test_a_list_of_one_is_a_set_too(engine: LeaseEngine) -> None:
    assert isinstance(engine.try_acquire(["a"]), LeaseSet)
    assert isinstance(engine.acquire(("b",)), LeaseSet)


def test_one_busy_lock_keeps_the_whole_set_out_and_nothing_is_taken(engine: LeaseEngine) -> None:
    held = engine.try_acquire("b", owner="the holder")
    busy = engine.try_acquire(["a", "b", "c"])
    assert isinstance(busy, Busy)
    assert [lease.token for lease in busy.leases] == [held.token]
    assert "'b' is held by the holder" in str(busy)
    assert [lease.lock_name for lease in engine.leases()] == ["b"]
    assert engine.try_acquire("a"), "…so others are not kept out"


def test_asking_again_for_the_set_gives_the_same_grant(dialect: Dialect, engine: LeaseEngine) -> None:
    first = engine.try_acquire(["a", "b"], "me", ttl=60)
    again = dialect.engine().try_acquire(["b", "a"], "me", ttl=600)
    assert (again.tokens, again.expires_at) == (first.tokens, first.expires_at)


def test_a_set_has_one_ticket_and_one_priority_in_all_lines(engine: LeaseEngine) -> None:
    engine.try_acquire("a")
    ticket = engine.enqueue(["a", Lock("b", priority=7)], owner_id="set")
    engine.enqueue("a", owner_id="urgent", priority=3)
    waiters = [(one.lock_name, one.ticket, one.priority) for one in engine.queue(owner_id="set")]
    assert waiters == [("a", ticket.number, 7), ("b", ticket.number, 7)], "the highest of its locks"
    assert [one.owner_id for one in engine.queue("a")] == ["set", "urgent"]


def test_an_older_set_holds_newcomers_back_on_all_its_locks(engine: LeaseEngine) -> None:
    held = engine.try_acquire("a")
    ticket = engine.enqueue(["a", "b"], owner_id="set")
    assert not engine.try_acquire("b", "newcomer"), "b is free, but the set stands there"
    engine.release(held)
    granted = engine.confirm(ticket.number, "set", several=True)
    assert list(granted) == ["a", "b"]
    assert engine.queue() == []


def test_a_set_does_not_overtake_in_any_line(engine: LeaseEngine) -> None:
    first = engine.enqueue("b", owner_id="first")
    ticket = engine.enqueue(["a", "b"], owner_id="set")
    busy = engine.confirm(ticket.number, "set", several=True)
    assert not busy
    assert busy.position == 1
    engine.release(engine.confirm(first.number, "first"))
    assert engine.confirm(ticket.number, "set", several=True)


def test_a_set_is_reserved_and_confirmed_as_a_whole(engine: LeaseEngine) -> None:
    ticket = engine.enqueue(["a", "b"], owner_id="set")
    reserved = engine.reserve(ticket.number)
    assert isinstance(reserved, LeaseSet)
    assert {lease.state for lease in engine.leases()} == {"reserved"}
    held = engine.confirm(ticket.number, "set", ttl=300, several=True)
    assert held.tokens == reserved.tokens
    assert [(lease.state, lease.ttl) for lease in engine.leases()] == [("held", 300)] * 2
    again = engine.confirm(ticket.number, "set", several=True)
    assert (again.tokens, again.expires_at) == (held.tokens, held.expires_at)


@pytest.mark.parametrize("verb", ["confirm", "reserve"])
def test_a_reservation_of_which_a_part_has_lapsed_is_made_anew_as_a_whole(
    dialect: Dialect, engine: LeaseEngine, verb: str
) -> None:
    ticket = engine.enqueue(["a", "b"], owner_id="set")
    reserved = engine.reserve(ticket.number)
    dialect.expire(reserved["a"])
    make = {"reserve": engine.reserve, "confirm": lambda number: engine.confirm(number, "set", several=True)}
    granted = make[verb](ticket.number)
    assert list(granted) == ["a", "b"]
    assert all(granted[name].token > reserved[name].token for name in granted)
    assert sorted(lease.token for lease in engine.leases()) == sorted(granted.tokens.values())


def test_withdrawing_leaves_all_lines_and_gives_all_reservations_back(engine: LeaseEngine) -> None:
    ticket = engine.enqueue(["a", "b"], owner_id="set")
    engine.reserve(ticket.number)
    assert engine.withdraw(ticket.number, "set")
    assert engine.queue() == engine.leases() == []


def test_a_poll_tells_of_a_set_when_all_its_locks_are_free(engine: LeaseEngine) -> None:
    held = {name: engine.try_acquire(name) for name in "ab"}
    number = engine.enqueue(["a", "b"], owner_id="set").number
    verdicts = []
    for name in "ab":
        verdicts += [view.verdict for view in engine.poll("a process", [number])]
        engine.release(held[name])
    verdicts += [view.verdict for view in engine.poll("a process", [number])]
    assert verdicts == ["wait", "wait", "try"]


def test_each_lock_of_a_set_keeps_its_own_units_sharing_and_capacity(engine: LeaseEngine) -> None:
    engine.set_capacity("pool", 3)
    wanted = [Lock("dim", shared=True), Lock("fact"), Lock("pool", units=2, capacity=3)]
    granted = engine.try_acquire(wanted)
    assert [(lease.units, lease.shared) for lease in granted.leases] == [(1, True), (1, False), (2, False)]
    assert engine.try_acquire("dim", shared=True)
    assert not engine.try_acquire("dim")
    assert engine.try_acquire("pool")
    assert not engine.try_acquire("pool")
    with pytest.raises(ConfigurationError, match='"pool" has capacity 3, but capacity 4'):
        engine.try_acquire(["x", Lock("pool", capacity=4)])


def test_a_set_waits_with_its_own_units_and_sharing(engine: LeaseEngine) -> None:
    engine.set_capacity("pool", 2)
    reader = engine.try_acquire("dim", shared=True)
    busy = engine.try_acquire("pool", units=2)
    ticket = engine.enqueue([Lock("dim", shared=True), Lock("pool", units=2)], owner_id="set")
    assert not engine.confirm(ticket.number, "set", several=True)
    engine.release(busy)
    granted = engine.confirm(ticket.number, "set", several=True)
    assert [(lease.units, lease.shared) for lease in granted.leases] == [(1, True), (2, False)]
    assert reader


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (["a", "b", "a"], "'a' is named twice in one request"),
        ([Lock("a"), "a"], "'a' is named twice"),
        ([], "name at least one lock"),
        (["a", ""], "is empty"),
        (["a", None], "must be a name or a Lock"),
    ],
)
def test_a_set_that_makes_no_sense_is_refused(engine: LeaseEngine, wanted: list[str], says: str) -> None:
    for verb in (engine.try_acquire, engine.acquire, engine.enqueue):
        with pytest.raises(ConfigurationError, match=says):
            verb(wanted, owner_id="me")
    assert engine.history() == []


def test_what_stands_in_line_for_other_locks_is_not_taken_for_this_request(engine: LeaseEngine) -> None:
    """Else the ticket for "a" would be granted, and the caller told that it has both."""
    engine.enqueue("a", owner_id="me")
    for verb in (engine.try_acquire, engine.enqueue):
        with pytest.raises(ConfigurationError, match=r"already waits for.*withdraw"):
            verb(["a", "b"], owner_id="me")
    assert engine.leases() == []


def test_a_set_is_renewed_and_lost_as_a_whole(dialect: Dialect, engine: LeaseEngine) -> None:
    both = engine.try_acquire(["a", "b"], ttl=60)
    longer = engine.renew(both, ttl=600)
    assert isinstance(longer, LeaseSet)
    assert longer.remaining > 590
    assert longer.tokens == both.tokens
    engine.revoke("b", by="ann", reason="stuck")
    with pytest.raises(LeaseLost, match=r"'b'.*revoked by ann") as caught:
        engine.renew(longer)
    assert caught.value.lock_name == "b"


def test_a_set_is_released_as_a_whole(engine: LeaseEngine) -> None:
    both = engine.try_acquire(["a", "b"])
    assert engine.release(both)
    assert not engine.release(both)
    assert engine.leases() == []
    successor = engine.try_acquire("a")
    assert not engine.release(both), "late"
    assert engine.renew(successor)


def test_a_guard_over_a_set_stands_only_while_all_of_it_is_held(dialect: Dialect, engine: LeaseEngine) -> None:
    dialect.query("create table public.sales (amount int)")
    both = engine.try_acquire(["a", "b"])
    with engine.fenced(both) as cursor:
        cursor.execute("insert into public.sales values (1)")
    other = dialect.engine()
    with pytest.raises(LeaseLost, match="b"):  # noqa: PT012
        with engine.fenced(both) as cursor:
            cursor.execute("insert into public.sales values (2)")
            other.release(both["b"])
            assert not other.try_acquire("b"), "it drains"
    assert other.release(both["a"])
    assert dialect.query("select amount from public.sales") == [1]
    assert engine.try_acquire(["a", "b"])


def test_hold_keeps_a_set_and_gives_it_back(engine: LeaseEngine) -> None:
    with engine.hold(["a", "b"], owner_id="me") as both:
        assert list(both) == ["a", "b"]
        assert [lease.owner_id for lease in engine.leases()] == ["me", "me"]
    assert engine.leases() == []


def test_acquire_waits_for_a_set_and_times_out_with_all_names(dialect: Dialect, engine: LeaseEngine) -> None:
    held = engine.try_acquire("b", owner="the holder")
    waiting = dialect.engine(poll_interval=0.05, listen=False)
    with pytest.raises(LeaseWaitTimeout, match=r"locks 'a', 'b' were not free within.*the holder") as caught:
        waiting.acquire(["a", "b"], wait_timeout=1)
    assert caught.value.lock_name == "a, b"
    assert engine.queue() == []
    waiting._sleep = lambda seconds: engine.release(held)
    assert list(waiting.acquire(["a", "b"])) == ["a", "b"]


def test_requests_that_cross_are_all_served_and_never_stuck(dialect: Dialect) -> None:
    """Rings of pairs, taken in any order by many at once: the classic deadlock."""
    names = ["a", "b", "c"]

    def work(seed: int) -> int:
        chance = random.Random(seed)
        engine = dialect.engine(poll_interval=0.02)
        for _ in range(8):
            wanted = chance.sample(names, chance.choice([1, 2, 2, 3]))
            with_set = engine.acquire(wanted, wait_timeout=60)
            assert sorted(with_set) == sorted(wanted)
            assert engine.release(with_set)
        engine.close()
        return 8

    with ThreadPoolExecutor(5) as pool:
        assert sum(pool.map(work, range(5))) == 40
    engine = dialect.engine()
    assert engine.leases() == engine.queue() == []


def test_of_any_crossing_requests_there_is_always_one_that_can_go(engine: LeaseEngine) -> None:
    held = {name: engine.try_acquire(name) for name in "abc"}
    wanted = [["a", "b"], ["b", "c"], ["c", "a"], ["a"], ["c", "b", "a"]]
    tickets = {f"owner {turn}": engine.enqueue(one, owner_id=f"owner {turn}") for turn, one in enumerate(wanted)}
    for lease in held.values():
        engine.release(lease)
    while tickets:
        answers = {owner: engine.confirm(one.number, owner, several=True) for owner, one in tickets.items()}
        served = [owner for owner, answer in answers.items() if answer]
        assert served
        assert next(iter(tickets)) in served, "the first of all stands before all others, wherever it stands"
        for owner in served:
            engine.release(answers[owner])
            del tickets[owner]


def test_two_leases_on_one_lock_do_not_pass_for_a_set(engine: LeaseEngine) -> None:
    """The owner stood in line while it held one already: misuse, but never "granted" for what it has not."""
    engine.set_capacity("a", 2)
    held = engine.try_acquire("a", "me")
    engine.confirm(engine.enqueue("a", owner_id="me").number, "me")
    engine.try_acquire("b", "somebody")
    assert not engine.try_acquire(["a", "b"], "me")
    assert engine.renew(held)
