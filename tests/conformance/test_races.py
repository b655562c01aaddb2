# ruff: noqa: B023  (all calls end within their round)
"""Verbs that meet each other. Each pair is sent at the same moment, again and again; either may come first."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from airflow_lockprovider.lease import Lease, LeaseEngine, LeaseLost
from tests.conformance.dialects import Dialect

ROUNDS = 40
Meet = Callable[..., list[Any]]


@pytest.fixture
def meet() -> Iterator[Meet]:
    """Calls all at the same moment, each from a thread of its own, and returns their answers."""
    with ThreadPoolExecutor(8) as pool:

        def together(*calls: Callable[[], Any]) -> list[Any]:
            start = threading.Barrier(len(calls))

            def run(call: Callable[[], Any]) -> Any:
                start.wait()
                return call()

            return [future.result() for future in [pool.submit(run, call) for call in calls]]

        yield together


def test_of_many_who_try_one_wins(engine: LeaseEngine, meet: Meet) -> None:
    for turn in range(ROUNDS):
        name = f"lock {turn}"  # new: its row is made by all of them, too
        answers = meet(*[lambda name=name: engine.try_acquire(name) for _ in range(4)])
        assert sum(map(bool, answers)) == 1


def test_the_same_request_sent_twice_at_once_is_one(engine: LeaseEngine, meet: Meet) -> None:
    for turn in range(ROUNDS):
        name = f"lock {turn}"
        leases = meet(*[lambda name=name: engine.try_acquire(name, "me") for _ in range(3)])
        assert len({lease.token for lease in leases}) == 1
        tickets = meet(*[lambda name=name: engine.enqueue(name, owner_id="you") for _ in range(3)])
        assert len({ticket.number for ticket in tickets}) == 1


def test_reserve_meets_withdraw_and_no_ghost_is_left(engine: LeaseEngine, meet: Meet) -> None:
    for turn in range(ROUNDS):
        ticket = engine.enqueue("x", owner_id=f"owner {turn}")
        reserved, withdrawn = meet(
            lambda: engine.reserve(ticket.number), lambda: engine.withdraw(ticket.number, ticket.owner_id)
        )
        assert withdrawn is True
        assert reserved is None or reserved.state == "reserved"
        assert engine.leases("x") == []
        assert engine.queue("x") == []


def test_confirm_meets_withdraw_and_one_of_them_wins(engine: LeaseEngine, meet: Meet) -> None:
    won = set()
    for turn in range(ROUNDS):
        ticket = engine.enqueue("x", owner_id=f"owner {turn}")
        if turn % 2:
            engine.reserve(ticket.number)
        lease, withdrawn = meet(
            lambda: engine.confirm(ticket.number, ticket.owner_id),
            lambda: engine.withdraw(ticket.number, ticket.owner_id),
        )
        assert bool(lease) is not withdrawn
        assert [one.token for one in engine.leases("x")] == ([lease.token] if lease else [])
        assert engine.queue("x") == []
        won.add(withdrawn)
        if lease:
            assert engine.release(lease)
    assert won


def test_confirm_meets_reserve_and_there_is_one_lease(engine: LeaseEngine, meet: Meet) -> None:
    for turn in range(ROUNDS):
        ticket = engine.enqueue("x", owner_id=f"owner {turn}")
        lease, first, second = meet(
            lambda: engine.confirm(ticket.number, ticket.owner_id),
            lambda: engine.reserve(ticket.number),
            lambda: engine.reserve(ticket.number),
        )
        assert lease
        assert {one.token for one in (first, second) if one} <= {lease.token}
        assert [(one.token, one.state) for one in engine.leases("x")] == [(lease.token, "held")]
        assert engine.release(lease)


def test_two_who_confirm_at_once_are_served_one_after_the_other(engine: LeaseEngine, meet: Meet) -> None:
    for turn in range(ROUNDS):
        first, second = (engine.enqueue("x", owner_id=f"{name} {turn}") for name in ("first", "second"))
        one, two = meet(
            lambda: engine.confirm(second.number, second.owner_id), lambda: engine.confirm(first.number, first.owner_id)
        )
        assert not one, "it was not its turn"
        assert two
        engine.release(two)
        engine.release(engine.confirm(second.number, second.owner_id))


def test_a_confirm_after_the_lapse_meets_others_and_clean_up(dialect: Dialect, engine: LeaseEngine, meet: Meet) -> None:
    for turn in range(ROUNDS):
        ticket = engine.enqueue("x", owner_id=f"owner {turn}")
        lapsed = engine.reserve(ticket.number)
        dialect.expire(lapsed)
        lease, other, _, _ = meet(
            lambda: engine.confirm(ticket.number, ticket.owner_id),
            lambda: engine.try_acquire("x", "newcomer"),
            engine.clean_up,
            lambda: engine.release(lapsed),
        )
        assert not other, "the ticket stands before it"
        while not lease:  # a row that somebody was just removing counted for a moment
            lease = engine.confirm(ticket.number, ticket.owner_id)
        assert lease.token > lapsed.token
        engine.release(lease)


def test_an_ending_meets_a_renewal_and_the_answer_is_the_truth(
    dialect: Dialect, engine: LeaseEngine, meet: Meet
) -> None:
    for turn in range(ROUNDS):
        lease = engine.try_acquire("x", f"owner {turn}")

        def renew(lease: Lease = lease) -> bool:
            try:
                return bool(engine.renew(lease))
            except LeaseLost:
                return False

        ending = [lambda: engine.release(lease), lambda: engine.revoke("x", by="ann", reason="why")][turn % 2]
        _, ended = meet(renew, ending)
        assert ended
        assert engine.leases("x") == []
        assert not renew()
        assert engine.try_acquire("x", f"next {turn}")
        engine.revoke("x", by="ann", reason="why")


def test_any_verbs_in_any_order_never_grant_too_much_and_never_block_each_other(
    dialect: Dialect, engine: LeaseEngine
) -> None:
    """What the history says is added up: it is written by the decisions themselves."""
    engine.set_capacity("x", 2)
    engine.settings = type(engine.settings)(prune_after=20)
    hand = threading.Lock()  # the dialect's hand on the clock is one connection
    units: dict[int, int] = {}

    def live(seed: int) -> None:
        chance = random.Random(seed)
        for turn in range(25):
            owner = f"{seed}/{turn}"
            lease: Any = engine.try_acquire("x", owner, units=chance.choice([1, 1, 2]))
            if not lease:
                ticket = engine.enqueue("x", owner_id=owner, units=chance.choice([1, 2]))
                for _ in range(chance.randrange(1, 6)):
                    step = chance.choice([engine.reserve, engine.reserve, lambda n: engine.confirm(n, owner)])
                    if answer := step(ticket.number):
                        units[answer.token] = answer.units
                    engine.poll(f"process {seed}", [ticket.number])
                if not chance.randrange(3):
                    engine.withdraw(ticket.number, owner)
                lease = engine.confirm(ticket.number, owner)
                if not lease:
                    engine.withdraw(ticket.number, owner)
                    continue
            units[lease.token] = lease.units
            match chance.randrange(6):
                case 0:
                    engine.revoke("x", by="ann", reason="why", token=lease.token)
                case 1:
                    with hand:
                        dialect.expire(lease)
                    engine.clean_up()
                case 2:
                    with engine.fenced(lease) as cursor:
                        cursor.execute("select 1")
                    engine.release(lease)
                case _:
                    engine.renew_many([lease])
                    engine.release(lease)
        engine.close()

    with ThreadPoolExecutor(5) as pool:
        for future in [pool.submit(live, seed) for seed in range(5)]:
            future.result()
    engine.clean_up()
    assert engine.leases("x") == []
    assert engine.queue("x") == []
    out: dict[int, int] = {}
    tokens: list[int] = []
    most = 0
    for event in reversed(engine.history("x", limit=100_000)):
        if event.event in ("granted", "reserved"):
            tokens.append(event.token)
            out[event.token] = units[event.token]
        elif event.event in ("released", "revoked", "expired", "lapsed"):
            del out[event.token]
        most = max(most, sum(out.values()))
    assert out == {}
    assert tokens == sorted(set(tokens))
    assert most == 2
