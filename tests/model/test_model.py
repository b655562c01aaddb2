"""The engine against the model: any verbs in any order give the same answers, and somebody can always go on."""

from __future__ import annotations

import os
from typing import Any

import hypothesis.strategies as st
import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from airflow_lockprovider.lease import Busy, ConfigurationError, Lease, LeaseSet, Lock
from tests.conformance.dialects import Dialect
from tests.model.lock_model import Grant, Key, Model, Place, Refusal, Refused, Wanted

NAMES = ["a", "b", "c"]
EXAMPLES = int(os.environ.get("LOCKPROVIDER_MODEL_EXAMPLES", "12"))
"""More of them, and other ones each time, if set by hand."""

owners = st.sampled_from(["ann", "bob", "eve", "joe"])
one = st.tuples(st.sampled_from([1, 1, 1, 2, 3]), st.booleans()).map(lambda two: (1 if two[1] else two[0], two[1]))
requests = st.one_of(
    st.dictionaries(st.sampled_from(NAMES), one, min_size=1, max_size=1),
    st.dictionaries(st.sampled_from(NAMES), one, min_size=2, max_size=3),
)
seldom = st.sampled_from([False, False, False, True])
LONG = 300
"""Seconds that nobody here lives to see the end of."""


class Verbs(RuleBasedStateMachine):
    """Each rule calls a verb of the engine and of the model, and compares the answers."""

    def __init__(self, dialect: Dialect) -> None:
        super().__init__()
        self.dialect = dialect
        dialect.empty()
        self.engine = dialect.engine()
        self.model = Model(NAMES)
        self.tickets: dict[int, Any] = {}
        self.leases: dict[Key, Lease] = {}
        self.guards: dict[Key, psycopg.Connection] = {}
        self.newest = dict.fromkeys(NAMES, 0)
        for capacity, name in enumerate(NAMES, start=1):
            self.set_capacity(name, capacity)

    # Taking

    @rule(owner=owners, wanted=requests, hold=seldom)
    def try_acquire(self, owner: str, wanted: Wanted, hold: bool) -> None:
        if self._misuses(owner, wanted):
            return
        self._same(
            lambda: self.model.try_acquire(owner, wanted),
            lambda: self.engine.try_acquire(**_asked(owner, wanted, hold)),
            hold,
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
    @rule(data=st.data(), hold=seldom)
    def confirm(self, data: st.DataObject, hold: bool) -> None:
        place = self._a_place(data)
        number = self.tickets[place.ticket].number
        self._same(
            lambda: self.model.confirm(place.ticket, place.owner),
            lambda: self.engine.confirm(number, place.owner, hold_at_least=LONG if hold else None),
            hold,
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
    @rule(data=st.data(), whole=st.booleans())
    def release(self, data: st.DataObject, whole: bool) -> None:
        for lease in self._one_or_all(data, whole):
            self.model.end(_key(lease))
            assert self.engine.release(lease)

    @precondition(lambda self: self.model.grants)
    @rule(data=st.data(), whole=st.booleans())
    def expire(self, data: st.DataObject, whole: bool) -> None:
        """Of a set, all leases or one alone: a reservation lapses in part."""
        for lease in self._one_or_all(data, whole):
            self.model.end(_key(lease))
            self.dialect.expire(lease)

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def use_a_lease_that_is_gone(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(list(self.leases.values())))
        if _key(lease) not in self.model.living():
            assert not self.engine.release(lease)
            assert self.engine.renew_many([lease])[0].outcome == "lost"
            if self.dialect.name == "postgres":
                with psycopg.connect(self.dialect.dsn) as late, pytest.raises(psycopg.Error, match=str(lease.token)):
                    late.execute(lease.guard)

    @precondition(lambda self: self.model.grants)
    @rule(data=st.data(), all_of_them=seldom)
    def revoke(self, data: st.DataObject, all_of_them: bool) -> None:
        """A reservation is taken away together with its place in line, on all of its locks."""
        self._revoke(*_key(self._a_lease(data)), all_of_them)

    @precondition(lambda self: self.model.remnants)
    @rule(data=st.data(), all_of_them=seldom)
    def revoke_what_is_only_kept(self, data: st.DataObject, all_of_them: bool) -> None:
        self._revoke(*data.draw(st.sampled_from(sorted(self.model.remnants))), all_of_them)

    @precondition(lambda self: self.model.grants or self.model.remnants)
    @rule(owner=owners, data=st.data())
    def adopt(self, owner: str, data: st.DataObject) -> None:
        """Often what the earlier attempt holds, sometimes a part of it or too much."""
        previous = data.draw(owners.filter(lambda one: one != owner))
        held = [sorted(one.tokens) for one in self.model.grants if one.owner == previous]
        names = data.draw(st.sampled_from([*held, *held, *([name] for name in NAMES), NAMES[:2]]))
        if not self._may_adopt(owner, names):
            return
        self._same(
            lambda: self.model.adopt(owner, previous, names),
            lambda: self.engine.adopt(names if len(names) > 1 else names[0], owner, previous),
        )

    # Guarded transactions

    @precondition(lambda self: self.dialect.name == "postgres" and self.model.grants and len(self.guards) < 3)
    @rule(data=st.data())
    def begin_a_guarded_transaction(self, data: st.DataObject) -> None:
        lease = self._a_lease(data)
        if _key(lease) in self.guards:
            return
        connection = psycopg.connect(self.dialect.dsn)
        if self.model.living()[_key(lease)].state == "reserved":
            with connection, pytest.raises(psycopg.Error, match="it is reserved"):
                connection.execute(lease.guard)
            return
        connection.execute(lease.guard)
        self.guards[_key(lease)] = connection
        self.model.guarded.add(_key(lease))

    @precondition(lambda self: self.guards)
    @rule(data=st.data(), commit=st.booleans())
    def end_a_guarded_transaction(self, data: st.DataObject, commit: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.guards)))
        with self.guards.pop(key) as connection:
            if not commit:
                connection.rollback()
            elif key in self.model.living():
                connection.execute("select lockprovider.still_held(%s, %s)", key)
            else:
                with pytest.raises(psycopg.Error, match="is not held any more"):
                    connection.execute("select lockprovider.still_held(%s, %s)", key)
        self.model.no_longer_guarded(key)

    # Time and people

    @precondition(lambda self: self.model.kept)
    @rule(data=st.data())
    def the_time_to_hold_it_is_over(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.model.kept)))
        self.model.no_longer_kept(key)
        self.dialect.end_hold(*key)

    @precondition(lambda self: self.model.line)
    @rule(data=st.data())
    def a_waiter_dies(self, data: st.DataObject) -> None:
        place = self._a_place(data)
        place.alive = False
        self.dialect.age_waiter(self.tickets[place.ticket], self.engine.settings.skip_after + 1)

    @precondition(lambda self: self.model.line)
    @rule(data=st.data())
    def a_waiter_is_dead_for_long(self, data: st.DataObject) -> None:
        place = self._a_place(data)
        if self.model.reservation(place.ticket) is None:
            self.model.withdraw(place.ticket)
            self.dialect.age_waiter(self.tickets[place.ticket], self.engine.settings.prune_after + 1)
            assert self.engine.clean_up() >= len(place.wanted)

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
                if name in place.wanted and not self.model.is_reserved(place.ticket, name)
            ]
            for name in NAMES
        }

    def teardown(self) -> None:
        try:
            self._everybody_gets_in()
        finally:
            self.engine.close()

    def _everybody_gets_in(self) -> None:
        """When all leases are over and nothing is paused, one after the other."""
        while self.guards:
            key, connection = self.guards.popitem()
            connection.close()
            self.model.no_longer_guarded(key)
        for key in sorted(self.model.kept):
            self.model.no_longer_kept(key)
            self.dialect.end_hold(*key)
        for name in NAMES:
            self.pause_or_resume(name, False)
        for key in list(self.model.living()):
            self.model.end(key)
            assert self.engine.release(self.leases[key])
        waiting = [place for place in self.model.line if place.alive]
        while waiting:
            served = [place for place in waiting if self._is_served(place)]
            assert served, f"nobody of {waiting} can be granted"
            waiting = [place for place in waiting if place not in served]

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

    def _same(self, model: Any, engine: Any, hold: bool = False) -> None:
        """The same answer of both: a grant with the same tokens or with new ones, none and why, or a refusal."""
        before = {key for key, grant in self.model.living().items() if grant.state == "held"}
        try:
            expected: Grant | Refusal | None = model()
        except Refused as refused:
            with pytest.raises(ConfigurationError, match=str(refused)):
                engine()
            return
        answer = engine()
        if expected is None:
            assert answer is None, str(answer)
            return
        if isinstance(expected, Refusal):
            assert isinstance(answer, Busy), str(answer)
            assert answer.position == expected.position
            assert {(one.lock_name, one.token) for one in answer.leases} == expected.out
            return
        assert {lease.lock_name for lease in _all(answer)} == expected.tokens.keys(), str(answer)
        for lease in _all(answer):
            assert (lease.owner_id, lease.state) == (expected.owner, expected.state)
            assert (lease.units, lease.shared) == expected.wanted[lease.lock_name]
            if expected.tokens[lease.lock_name] == 0:
                assert lease.token > self.newest[lease.lock_name]
                self.newest[lease.lock_name] = lease.token
                expected.tokens[lease.lock_name] = lease.token
                self.leases[_key(lease)] = lease
            assert lease.token == expected.tokens[lease.lock_name]
        if hold:
            self.model.kept |= expected.tokens.items() - before

    def _revoke(self, name: str, token: int, all_of_them: bool) -> None:
        only = None if all_of_them else token
        gone = {(one.lock_name, one.token) for one in self.engine.revoke(name, "ann", "test", token=only)}
        assert gone == self.model.revoke(name, only)

    def _a_place(self, data: st.DataObject) -> Place:
        return data.draw(st.sampled_from(self.model.line))

    def _a_lease(self, data: st.DataObject) -> Lease:
        return self.leases[data.draw(st.sampled_from(list(self.model.living())))]

    def _one_or_all(self, data: st.DataObject, whole: bool) -> list[Lease]:
        lease = self._a_lease(data)
        grant = self.model.living()[_key(lease)]
        return [self.leases[key] for key in grant.tokens.items()] if whole else [lease]

    def _misuses(self, owner: str, wanted: Wanted, waiting: bool = False) -> bool:
        """An owner_id is for one request: it does not ask for more beside what it holds."""
        held = [grant for grant in self.model.grants if grant.owner == owner and grant.state == "held"]
        mixed = any(grant.tokens.keys() & wanted.keys() and grant.tokens.keys() != wanted.keys() for grant in held)
        return mixed or (waiting and any(grant.tokens.keys() & wanted.keys() for grant in held))

    def _may_adopt(self, owner: str, names: list[str]) -> bool:
        """The same: it adopts before it asks for anything else on these locks, or asks for its adoption again."""
        held = [one.tokens.keys() for one in self.model.grants if one.owner == owner and one.tokens.keys() & set(names)]
        in_line = any(place.owner == owner and place.wanted.keys() & set(names) for place in self.model.line)
        rest = [one for (name, _), one in self.model.remnants.items() if name in names and one.owner == owner]
        return not in_line and all(one.adopted for one in rest) and held in ([], [set(names)])


def _key(lease: Lease) -> Key:
    return lease.lock_name, lease.token


def _asked(owner: str, wanted: Wanted, hold: bool = False) -> dict[str, Any]:
    keep = LONG if hold else None
    locks = [Lock(name, units=units, shared=shared, hold_at_least=keep) for name, (units, shared) in wanted.items()]
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
