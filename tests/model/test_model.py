"""The engine against the model: any verbs in any order give the same answers, and somebody can always go on."""

from __future__ import annotations

import os
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from airflow_lockprovider.lease import ConfigurationError, Lease, LeaseSet, Lock
from tests.conformance.dialects import Dialect
from tests.model.lock_model import Grant, Model, Place, Refused, Wanted

NAMES = ["a", "b", "c"]
EXAMPLES = int(os.environ.get("LOCKPROVIDER_MODEL_EXAMPLES", "12"))
"""More of them, and other ones each time, if set by hand."""

owners = st.sampled_from(["ann", "bob", "eve", "joe"])
one = st.tuples(st.sampled_from([1, 1, 1, 2, 3]), st.booleans()).map(lambda two: (1 if two[1] else two[0], two[1]))
requests = st.one_of(
    st.dictionaries(st.sampled_from(NAMES), one, min_size=1, max_size=1),
    st.dictionaries(st.sampled_from(NAMES), one, min_size=2, max_size=3),
)


class Verbs(RuleBasedStateMachine):
    """Each rule calls a verb of the engine and of the model, and compares the answers."""

    def __init__(self, dialect: Dialect) -> None:
        super().__init__()
        self.dialect = dialect
        dialect.empty()
        self.engine = dialect.engine()
        self.model = Model(NAMES)
        self.tickets: dict[int, Any] = {}
        self.leases: dict[tuple[str, int], Lease] = {}
        self.newest = dict.fromkeys(NAMES, 0)
        for capacity, name in enumerate(NAMES, start=1):
            self.set_capacity(name, capacity)

    # Taking

    @rule(owner=owners, wanted=requests)
    def try_acquire(self, owner: str, wanted: Wanted) -> None:
        if self._misuses(owner, wanted):
            return
        self._same(
            lambda: self.model.try_acquire(owner, wanted), lambda: self.engine.try_acquire(**_asked(owner, wanted))
        )

    @rule(owner=owners, wanted=requests, priority=st.integers(0, 1))
    def enqueue(self, owner: str, wanted: Wanted, priority: int) -> None:
        if self._misuses(owner, wanted, waiting=True):
            return
        try:
            place = self.model.enqueue(owner, wanted, priority)
        except Refused as refused:
            with pytest.raises(ConfigurationError, match=str(refused)):
                self.engine.enqueue(**_asked(owner, wanted), priority=priority)
            return
        ticket = self.engine.enqueue(**_asked(owner, wanted), priority=priority)
        assert self.tickets.setdefault(place.ticket, ticket).number == ticket.number

    @precondition(lambda self: self.model.line)
    @rule(data=st.data())
    def reserve(self, data: st.DataObject) -> None:
        place = self._a_place(data)
        number = self.tickets[place.ticket].number
        self._same(lambda: self.model.reserve(place.ticket), lambda: self.engine.reserve(number))

    @precondition(lambda self: self.model.line)
    @rule(data=st.data())
    def confirm(self, data: st.DataObject) -> None:
        place = self._a_place(data)
        number = self.tickets[place.ticket].number
        self._same(
            lambda: self.model.confirm(place.ticket, place.owner), lambda: self.engine.confirm(number, place.owner)
        )

    @precondition(lambda self: self.model.line)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        place = self._a_place(data)
        self.model.withdraw(place.ticket)
        assert self.engine.withdraw(self.tickets[place.ticket].number, place.owner)

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def use_a_ticket_that_is_gone(self, data: st.DataObject) -> None:
        number, ticket = data.draw(st.sampled_from(list(self.tickets.items())))
        if self.model.place(number) is None:
            assert self.engine.reserve(ticket.number) is None
            assert not self.engine.withdraw(ticket.number, "nobody")
            kept = [one for one in self.model.grants if one.ticket == number]
            answer = self.engine.confirm(ticket.number, ticket.owner_id)
            assert ({each.token for each in _all(answer)} if answer else None) == (
                set(kept[0].tokens.values()) if kept else None
            )

    @precondition(lambda self: self.tickets)
    @rule()
    def poll(self) -> None:
        expected = {}
        for number in self.tickets:  # first all of them show that they live, then they are looked at
            if (place := self.model.place(number)) is not None:
                place.alive = True
        for number, ticket in self.tickets.items():
            expected[ticket.number] = self.model.poll(number)
        views = self.engine.poll("a process", list(expected))
        assert {view.number: (view.verdict, view.position) for view in views} == expected

    # Keeping and losing

    @precondition(lambda self: self.model.grants)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        lease = self._a_lease(data)
        assert self.engine.renew(lease, ttl=500).token == lease.token

    @precondition(lambda self: self.model.grants)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        for lease in self._one_or_a_whole_reservation(data):
            self._end(lease)
            assert self.engine.release(lease)

    @precondition(lambda self: self.model.grants)
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        for lease in self._one_or_a_whole_reservation(data):
            self._end(lease)
            self.dialect.expire(lease)

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def use_a_lease_that_is_gone(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(list(self.leases.values())))
        if (lease.lock_name, lease.token) not in self._living():
            assert not self.engine.release(lease)
            assert self.engine.renew_many([lease])[0].outcome == "lost"

    @precondition(lambda self: self.model.grants)
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        """A reservation is taken away together with its place in line, on all of its locks."""
        lease = self._a_lease(data)
        grant = self._grant(lease)
        if grant.state == "reserved":
            assert grant.ticket is not None
            gone = set(grant.tokens.values())
            self.model.withdraw(grant.ticket)
        else:
            gone = {lease.token}
            self._end(lease)
        assert {one.token for one in self.engine.revoke(lease.lock_name, "ann", "test", token=lease.token)} == gone

    # Time and people

    @precondition(lambda self: self.model.line)
    @rule(data=st.data())
    def a_waiter_dies(self, data: st.DataObject) -> None:
        place = self._a_place(data)
        if len(place.wanted) > 1 and self.dialect.name != "postgres":
            return  # its hand on the clock takes one row, or none
        place.alive = False
        try:
            self.dialect.age_waiter(self.tickets[place.ticket], self.engine.settings.skip_after + 1)
        except AssertionError:
            assert len(place.wanted) > 1, "it expects one row"

    @rule(name=st.sampled_from(NAMES), capacity=st.integers(1, 3))
    def set_capacity(self, name: str, capacity: int) -> None:
        self.model.capacity[name] = capacity
        self.engine.set_capacity(name, capacity)

    @rule(name=st.sampled_from(NAMES), pause=st.sampled_from([True, False, False, False]))
    def pause_or_resume(self, name: str, pause: bool) -> None:
        if pause:
            assert self.engine.pause(name, "ann", "test")
        else:
            assert self.engine.resume(name, "ann") == self.model.paused[name]
        self.model.paused[name] = pause

    @rule()
    def clean_up(self) -> None:
        self.engine.clean_up()

    # What always holds

    @invariant()
    def the_same_leases_are_out(self) -> None:
        out = {(one.lock_name, one.token, one.owner_id, one.state) for one in self.engine.leases()}
        assert out == {
            (name, token, grant.owner, grant.state)
            for grant in self.model.grants
            for name, token in grant.tokens.items()
        }

    @invariant()
    def the_lines_are_the_same(self) -> None:
        lines = {name: [(one.owner_id, one.alive) for one in self.engine.queue(name)] for name in NAMES}
        assert lines == {
            name: [
                (place.owner, place.alive)
                for place in self.model.in_order()
                if name in place.wanted and self.model.reservation(place.ticket) is None
            ]
            for name in NAMES
        }

    def teardown(self) -> None:
        """When all leases are over and nothing is paused, everybody in line gets in, one after the other."""
        for name in NAMES:
            self.pause_or_resume(name, False)
        for lease in list(self._living().values()):
            self._end(lease)
            assert self.engine.release(lease)
        waiting = [place for place in self.model.line if place.alive]
        while waiting:
            served = [place for place in waiting if self._is_served(place)]
            assert served, f"nobody of {waiting} can be granted"
            waiting = [place for place in waiting if place not in served]
        self.engine.close()

    def _is_served(self, place: Place) -> bool:
        number = self.tickets[place.ticket].number
        try:
            answer = self.engine.confirm(number, place.owner)
        except ConfigurationError:
            assert not self.model.possible(place.wanted)
            return self.engine.withdraw(number, place.owner)
        for lease in _all(answer) if answer else ():
            assert self.engine.release(lease)
        return bool(answer)

    # Help

    def _same(self, model: Any, engine: Any) -> None:
        """The same answer of both: a grant with the same tokens or with new ones, none, or a refusal."""
        try:
            expected: Grant | None = model()
        except Refused as refused:
            with pytest.raises(ConfigurationError, match=str(refused)):
                engine()
            return
        answer = engine()
        assert bool(answer) == (expected is not None), str(answer)
        if expected is None:
            return
        assert {lease.lock_name for lease in _all(answer)} == expected.tokens.keys()
        for lease in _all(answer):
            assert (lease.owner_id, lease.state) == (expected.owner, expected.state)
            assert (lease.units, lease.shared) == expected.wanted[lease.lock_name]
            if expected.tokens[lease.lock_name] == 0:
                assert lease.token > self.newest[lease.lock_name]
                self.newest[lease.lock_name] = lease.token
                expected.tokens[lease.lock_name] = lease.token
                self.leases[lease.lock_name, lease.token] = lease
            assert lease.token == expected.tokens[lease.lock_name]

    def _a_place(self, data: st.DataObject) -> Place:
        return data.draw(st.sampled_from(self.model.line))

    def _living(self) -> dict[tuple[str, int], Lease]:
        return {key: self.leases[key] for grant in self.model.grants for key in grant.tokens.items()}

    def _a_lease(self, data: st.DataObject) -> Lease:
        return data.draw(st.sampled_from(list(self._living().values())))

    def _one_or_a_whole_reservation(self, data: st.DataObject) -> list[Lease]:
        lease = self._a_lease(data)
        grant = self._grant(lease)
        if grant.state == "held":
            return [lease]
        return [self.leases[key] for key in grant.tokens.items()]

    def _misuses(self, owner: str, wanted: Wanted, waiting: bool = False) -> bool:
        """An owner_id is for one request: it does not ask for more beside what it holds."""
        held = [grant for grant in self.model.grants if grant.owner == owner and grant.state == "held"]
        mixed = any(grant.tokens.keys() & wanted.keys() and grant.tokens.keys() != wanted.keys() for grant in held)
        return mixed or (waiting and any(grant.tokens.keys() & wanted.keys() for grant in held))

    def _end(self, lease: Lease) -> None:
        grant = self._grant(lease)
        del grant.tokens[lease.lock_name]
        if not grant.tokens:
            self.model.grants.remove(grant)

    def _grant(self, lease: Lease) -> Grant:
        return next(one for one in self.model.grants if one.tokens.get(lease.lock_name) == lease.token)


def _asked(owner: str, wanted: Wanted) -> dict[str, Any]:
    locks = [Lock(name, units=units, shared=shared) for name, (units, shared) in wanted.items()]
    return {"lock": locks if len(locks) > 1 else locks[0], "owner_id": owner}


def _all(answer: Lease | LeaseSet) -> tuple[Lease, ...]:
    return answer.leases if isinstance(answer, LeaseSet) else (answer,)


def test_any_verbs_in_any_order_give_the_answers_of_the_model(dialect: Dialect) -> None:
    by_hand = "LOCKPROVIDER_MODEL_EXAMPLES" in os.environ
    run_state_machine_as_test(
        lambda: Verbs(dialect),
        settings=settings(
            max_examples=EXAMPLES
            if dialect.name == "postgres"
            else max(1, EXAMPLES // 4),  # it takes a table lock each
            stateful_step_count=100,
            deadline=None,
            database=None,
            derandomize=not by_hand,
            phases=[Phase.generate, Phase.shrink] if by_hand else [Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
