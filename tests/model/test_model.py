"""The engine against the model: any verbs in any order give the same answers, and somebody can always go on."""

from __future__ import annotations

import os
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from airflow_lockprovider.lease import ConfigurationError, Lease
from tests.conformance.dialects import Dialect
from tests.model.lock_model import Grant, Model, Place, TooMuch, Wanted

NAMES = ["a", "b", "c"]
EXAMPLES = int(os.environ.get("LOCKPROVIDER_MODEL_EXAMPLES", "12"))
"""More of them, and other ones each time, if set by hand."""

owners = st.sampled_from(["ann", "bob", "eve", "joe"])
requests = st.tuples(st.sampled_from(NAMES), st.sampled_from([1, 1, 1, 2, 3]), st.booleans()).map(
    lambda one: {one[0]: (1 if one[2] else one[1], one[2])}
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
        self._same(
            lambda: self.model.try_acquire(owner, wanted), lambda: self.engine.try_acquire(**_asked(owner, wanted))
        )

    @rule(owner=owners, wanted=requests, priority=st.integers(0, 1))
    def enqueue(self, owner: str, wanted: Wanted, priority: int) -> None:
        try:
            place = self.model.enqueue(owner, wanted, priority)
        except TooMuch:
            with pytest.raises(ConfigurationError, match="never be granted"):
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
            assert [answer.token] == list(kept[0].tokens.values()) if kept else answer is None

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
        lease = self._a_lease(data)
        self._end(lease)
        assert self.engine.release(lease)

    @precondition(lambda self: self.model.grants)
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        lease = self._a_lease(data)
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
        lease = self._a_lease(data)
        if self._grant(lease).state == "reserved":
            return  # what becomes of its ticket is decided with the verb itself
        self._end(lease, with_its_ticket=True)
        assert [one.token for one in self.engine.revoke(lease.lock_name, "ann", "test", token=lease.token)] == [
            lease.token
        ]

    # Time and people

    @precondition(lambda self: self.model.line)
    @rule(data=st.data())
    def a_waiter_dies(self, data: st.DataObject) -> None:
        place = self._a_place(data)
        place.alive = False
        self.dialect.age_waiter(self.tickets[place.ticket], self.engine.settings.skip_after + 1)

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

    @invariant()
    def somebody_is_first(self) -> None:
        if any(self.model.counts(place) for place in self.model.line):
            assert next(self.model.heads(), None) is not None

    def teardown(self) -> None:
        """When all leases are over and nothing is paused, everybody in line gets in, one after the other."""
        for name in NAMES:
            self.pause_or_resume(name, False)
        for lease in list(self._living().values()):
            self._end(lease)
            assert self.engine.release(lease)
        waiting = [place for place in self.model.line if self.model.counts(place)]
        while waiting:
            served = []
            for place in waiting:
                if self.engine.confirm(self.tickets[place.ticket].number, place.owner):
                    served.append(place)
                    for lease in self.engine.leases(owner_id=place.owner):
                        assert self.engine.release(lease)
            assert served, f"nobody of {waiting} can be granted"
            waiting = [place for place in waiting if place not in served]
        self.engine.close()

    # Help

    def _same(self, model: Any, engine: Any) -> None:
        """The same answer of both: a grant with the same tokens or with new ones, none, or a refusal."""
        try:
            expected: Grant | None = model()
        except TooMuch:
            with pytest.raises(ConfigurationError, match="never be granted"):
                engine()
            return
        answer = engine()
        assert bool(answer) == (expected is not None), str(answer)
        if expected is None:
            return
        assert (answer.owner_id, answer.state) == (expected.owner, expected.state)
        for lease in (answer,):
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

    def _end(self, lease: Lease, with_its_ticket: bool = False) -> None:
        grant = self._grant(lease)
        del grant.tokens[lease.lock_name]
        if with_its_ticket and grant.state == "reserved":
            assert grant.ticket is not None
            self.model.withdraw(grant.ticket)
        elif not grant.tokens:
            self.model.grants.remove(grant)

    def _grant(self, lease: Lease) -> Grant:
        return next(one for one in self.model.grants if one.tokens.get(lease.lock_name) == lease.token)


def _asked(owner: str, wanted: Wanted) -> dict[str, Any]:
    ((name, (units, shared)),) = wanted.items()
    return {"lock": name, "owner_id": owner, "units": units, "shared": shared}


def test_any_verbs_in_any_order_give_the_answers_of_the_model(dialect: Dialect) -> None:
    by_hand = "LOCKPROVIDER_MODEL_EXAMPLES" in os.environ
    run_state_machine_as_test(
        lambda: Verbs(dialect),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=100,
            deadline=None,
            database=None,
            derandomize=not by_hand,
            phases=[Phase.generate, Phase.shrink] if by_hand else [Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
