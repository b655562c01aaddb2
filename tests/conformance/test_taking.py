"""Who gets a lock, and what the others are told."""

from __future__ import annotations

import time
from typing import Any

import pytest

from airflow_lockprovider.lease import (
    Busy,
    ConfigurationError,
    Lease,
    LeaseEngine,
    LeaseWaitTimeout,
    Lock,
    StoreUnavailable,
)
from tests.conformance.dialects import Dialect


def test_a_free_lock_is_granted_with_what_was_asked_for(engine: LeaseEngine) -> None:
    before = engine.clock()
    lease = engine.try_acquire("dwh.sales", "me", ttl=30, owner="dag/run/task#1", context={"dag_id": "dag"})
    assert isinstance(lease, Lease)
    assert (lease.lock_name, lease.owner_id, lease.owner) == ("dwh.sales", "me", "dag/run/task#1")
    assert (lease.state, lease.ttl, lease.units, lease.shared) == ("held", 30, 1, False)
    assert lease.context == {"dag_id": "dag"}
    assert 29 < lease.remaining <= 30
    assert lease.token > 0
    # counted from before the question was sent, never from when the answer came
    assert before + 29 < lease.trusted_until <= engine.clock() + 30
    assert [lease.token] == [one.token for one in engine.leases("dwh.sales")]


def test_busy_is_false_and_says_who_holds_the_lock_and_how_many_stand_before(engine: LeaseEngine) -> None:
    lease = engine.try_acquire("x", "one", owner="the first")
    engine.enqueue("x", owner_id="two")
    engine.enqueue("x", owner_id="three")
    busy = engine.try_acquire("x", "four")
    assert isinstance(busy, Busy)
    assert not busy
    assert [held.token for held in busy.leases] == [lease.token]
    assert busy.leases[0].owner == "the first"
    assert busy.position == 2
    assert "the first" in str(busy)
    assert "2 before us" in str(busy)
    assert [waiter.owner_id for waiter in engine.queue("x")] == ["two", "three"], "a try takes no place in line"


def test_asking_again_with_the_same_owner_id_gives_the_same_lease_and_not_a_longer_one(
    dialect: Dialect, engine: LeaseEngine
) -> None:
    first = engine.try_acquire("x", "me", ttl=60)
    again = dialect.engine().try_acquire("x", "me", ttl=3600)
    assert (again.token, again.ttl, again.expires_at) == (first.token, 60, first.expires_at)
    assert again.remaining < first.remaining
    assert len(engine.leases("x")) == 1


def test_without_an_owner_id_every_request_is_another_owner(engine: LeaseEngine) -> None:
    assert engine.try_acquire("x")
    assert not engine.try_acquire("x")


def test_an_expired_lease_is_gone_for_its_owner_too(dialect: Dialect, engine: LeaseEngine) -> None:
    first = engine.try_acquire("x", "me")
    dialect.expire(first)
    second = engine.try_acquire("x", "me")
    assert second.token > first.token


@pytest.mark.parametrize("how", ["release", "expiry", "expiry and clean-up", "revoke", "reservation that lapsed"])
def test_tokens_grow_whatever_ended_the_lease_before(dialect: Dialect, engine: LeaseEngine, how: str) -> None:
    tokens = []
    for turn in range(4):
        if how == "reservation that lapsed":
            ticket = engine.enqueue("x", owner_id=f"owner {turn}")
            lease = engine.reserve(ticket.number)
        else:
            lease = engine.try_acquire("x", f"owner {turn}")
        assert lease
        tokens.append(lease.token)
        match how:
            case "release":
                assert engine.release(lease)
            case "revoke":
                assert engine.revoke("x", by="ann", reason="test")
            case "expiry":
                dialect.expire(lease)
            case "expiry and clean-up":
                dialect.expire(lease)
                assert engine.clean_up() == 1
            case _:
                dialect.expire(lease)
                engine.withdraw(lease.ticket, lease.owner_id)
    assert tokens == sorted(set(tokens))


def test_a_free_lock_is_busy_while_somebody_living_is_in_line(engine: LeaseEngine) -> None:
    lease = engine.try_acquire("x", "one")
    engine.enqueue("x", owner_id="waiter")
    engine.release(lease)
    busy = engine.try_acquire("x", "newcomer")
    assert isinstance(busy, Busy)
    assert (busy.leases, busy.position) == ((), 1)
    assert "next in line" in str(busy)


def test_a_dead_waiter_is_passed_over_but_keeps_its_ticket(dialect: Dialect, engine: LeaseEngine) -> None:
    dead = engine.enqueue("x", owner_id="dead")
    living = engine.enqueue("x", owner_id="living")
    dialect.age_waiter(dead, engine.settings.skip_after + 1)
    assert [(one.owner_id, one.alive) for one in engine.queue("x")] == [("dead", False), ("living", True)]
    lease = engine.confirm(living.number, "living")
    assert lease, "the dead one is passed over"
    engine.release(lease)
    assert engine.try_acquire("x", "newcomer"), "…by newcomers too"
    assert engine.enqueue("x", owner_id="dead").number == dead.number, "its place is still there"


def test_a_waiter_that_its_process_has_left_is_dead_though_the_process_lives(dialect: Dialect) -> None:
    engine = dialect.engine(skip_after=1.0, poll_interval=0.2)
    left, other = engine.enqueue("x", owner_id="left"), engine.enqueue("x", owner_id="other")
    engine.poll("process", [left.number, other.number])
    engine.unwatch("process", [left.number])

    deadline = time.monotonic() + 10
    while engine.poll("process", [other.number])[0].verdict != "try":
        assert time.monotonic() < deadline, "it is still taken for alive"
        time.sleep(0.1)

    assert [(one.owner_id, one.alive) for one in engine.queue("x")] == [("left", False), ("other", True)]


def test_clean_up_takes_the_ticket_of_a_waiter_that_is_dead_for_long(dialect: Dialect, engine: LeaseEngine) -> None:
    old, young = engine.enqueue("x", owner_id="old"), engine.enqueue("x", owner_id="young")
    dialect.age_waiter(old, engine.settings.prune_after + 1)
    dialect.age_waiter(young, engine.settings.prune_after - 60)
    assert engine.clean_up() == 1
    assert [waiter.owner_id for waiter in engine.queue("x")] == ["young"]
    assert engine.confirm(old.number, "old") is None
    assert engine.reserve(old.number) is None
    assert [event.event for event in engine.history("x")] == ["pruned"]


def test_the_line_is_kept_by_ticket_and_priority_goes_first(engine: LeaseEngine) -> None:
    running = engine.try_acquire("x", "running")
    tickets = {
        name: engine.enqueue("x", owner_id=name, priority=priority).number
        for name, priority in [("first", 0), ("second", 0), ("urgent", 5), ("low", -1)]
    }
    order = ["urgent", "first", "second", "low"]
    assert [(one.position, one.owner_id) for one in engine.queue("x")] == list(enumerate(order, start=1))
    served = []
    while tickets:
        engine.release(running)
        answers = {name: engine.confirm(number, name) for name, number in reversed(tickets.items())}
        (winner,) = [name for name, answer in answers.items() if answer]
        running = answers[winner]
        served.append(winner)
        del tickets[winner]
    assert served == order


def test_acquire_takes_a_free_lock_at_once_and_a_busy_one_when_it_is_free(dialect: Dialect) -> None:
    holder = dialect.engine()
    held = holder.acquire("x", owner_id="one")
    naps = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            holder.release(held)

    waiting = dialect.engine(poll_interval=0.25, listen=False)
    waiting._sleep = nap
    lease = waiting.acquire("x", owner_id="two", wait_timeout=None)
    assert lease.token > held.token
    assert lease.ticket is not None
    assert naps == [0.25] * 3
    assert waiting.queue("x") == []


@pytest.mark.parametrize("ready", [True, False], ids=["free", "busy"])
def test_acquire_with_no_time_to_wait_tries_once(engine: LeaseEngine, ready: bool) -> None:
    if ready:
        assert engine.acquire("x", wait_timeout=0)
        return
    engine.try_acquire("x", owner="the holder")
    with pytest.raises(LeaseWaitTimeout, match="the holder") as caught:
        engine.acquire("x", wait_timeout=0)
    assert caught.value.lock_name == "x"
    assert engine.queue("x") == []


def test_acquire_that_times_out_leaves_the_line(dialect: Dialect, engine: LeaseEngine) -> None:
    engine.try_acquire("x", owner="the holder")
    waiting = dialect.engine(listen=False)
    now = 1000.0
    waiting.clock = lambda: now

    def nap(seconds: float) -> None:
        nonlocal now
        now += seconds

    waiting._sleep = nap
    with pytest.raises(LeaseWaitTimeout, match=r"'x' was not free within wait_timeout=2\.5.*the holder"):
        waiting.acquire("x", wait_timeout=2.5)
    assert now == 1002.5
    with pytest.raises(LeaseWaitTimeout, match=r"wait_timeout=7\.0"):
        waiting.acquire(Lock("x", wait_timeout="7 s"))
    assert now == 1009.5
    with pytest.raises(LeaseWaitTimeout, match="wait_timeout=60"):
        waiting.acquire("x")
    assert now == 1069.5
    with pytest.raises(LeaseWaitTimeout, match="wait_timeout=60"):
        waiting.acquire(Lock("x", wait_timeout=7), wait_timeout=60)
    assert now == 1129.5
    assert engine.queue("x") == []
    assert engine.history("x", limit=1)[0].event == "withdrawn"


@pytest.mark.parametrize("granted", [False, True], ids=["before the grant", "after the grant"])
def test_an_error_while_waiting_leaves_nothing_behind(dialect: Dialect, engine: LeaseEngine, granted: bool) -> None:
    """Also not a lease that was granted while the error was on its way up."""
    holder = engine.try_acquire("x", "holder")
    waiting = dialect.engine()
    call = waiting.store.call

    def confirm_then_fail(name: str, **params: Any) -> Any:
        if name not in ("confirm", "confirm_and_unlisten"):
            return call(name, **params)
        if granted:
            engine.release(holder)
        assert (call(name, **params)[0]["outcome"] == "granted") == granted
        raise KeyboardInterrupt

    waiting.store.call = confirm_then_fail  # type: ignore[assignment,method-assign]
    with pytest.raises(KeyboardInterrupt):
        waiting.acquire("x")
    assert engine.queue("x") == []
    assert [lease.owner_id for lease in engine.leases("x")] == ([] if granted else ["holder"])


def test_an_error_while_waiting_is_not_hidden_by_a_database_that_went_away(
    dialect: Dialect, engine: LeaseEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.try_acquire("x", "holder")
    waiting = dialect.engine(listen=False)

    def gone(*args: Any, **kwargs: Any) -> None:
        raise StoreUnavailable("gone")

    def interrupted(seconds: float) -> None:
        monkeypatch.setattr(waiting, "withdraw", gone)
        raise KeyboardInterrupt

    waiting._sleep = interrupted
    with pytest.raises(KeyboardInterrupt):
        waiting.acquire("x")


def test_the_fields_of_a_lock_are_the_defaults_and_arguments_win(engine: LeaseEngine) -> None:
    lock = Lock("x", ttl="2 mins", units=2, capacity=3)
    lease = engine.try_acquire(lock)
    assert (lease.ttl, lease.units) == (120, 2)
    assert engine.try_acquire(lock, ttl=60, units=1).ttl == 60
    assert not engine.try_acquire(lock, units=1)


def test_a_name_that_cannot_name_a_lock_is_refused(engine: LeaseEngine) -> None:
    bad = {
        "": "is empty",
        "   ": "is empty",
        "x" * 201: "201 characters",
        "a\nb": "control characters",
        "a\0b": "control characters",
        "a\x7fb": "control characters",
        "a\ud800b": "control characters",
        " x": "begins or ends with a space",
    }
    for name, says in bad.items():
        with pytest.raises(ConfigurationError, match=says):
            engine.try_acquire(name)
    assert engine.history() == []
    assert engine.try_acquire("x" * 200)


def test_what_is_no_lock_is_refused(engine: LeaseEngine) -> None:
    for lock in (None, 5, b"x", ["a", None], [["a"]], {"a": 1}):
        with pytest.raises(ConfigurationError, match="must be a name or a Lock"):
            engine.try_acquire(lock)  # type: ignore[arg-type]


def test_a_ttl_that_cannot_work_is_refused_by_name_and_value(engine: LeaseEngine) -> None:
    for ttl in (0, -1, float("nan"), float("inf"), 400 * 86400, "soon", True, 10**400):
        with pytest.raises(ConfigurationError, match="ttl of lock 'x'") as caught:
            engine.try_acquire("x", ttl=ttl)  # type: ignore[arg-type]
        assert repr(ttl)[:20] in str(caught.value)
    assert engine.history() == []


def test_a_ttl_below_the_renewal_period_is_refused(dialect: Dialect) -> None:
    with pytest.raises(ConfigurationError, match=r"ttl=30 must be well above the renewal period of 30 s"):
        dialect.engine(renew_every=30).try_acquire("x", ttl=30)


@pytest.mark.parametrize("text", ["o'hara", 'a "quoted" one', "100%", "%s %(x)s", "back\\slash", "naïve ☃ 🔒", "a;--"])
def test_any_text_can_name_locks_and_owners(engine: LeaseEngine, text: str) -> None:
    lease = engine.try_acquire(text, owner_id=text, owner=text, context={text: text})
    assert (lease.lock_name, lease.owner_id, lease.owner, lease.context) == (text, text, text, {text: text})
    assert engine.try_acquire(text, owner_id=text).token == lease.token
    assert text in str(engine.try_acquire(text))
    with engine.fenced(lease) as cursor:
        cursor.execute("select 1")
    ticket = engine.enqueue(text, owner_id=f"{text}2")
    assert engine.queue(text)[0].owner_id == f"{text}2"
    assert engine.withdraw(ticket.number, f"{text}2")
    assert engine.revoke(text, by=text, reason=text)[0].token == lease.token
    assert [event.reason for event in engine.history(text) if event.event == "revoked"] == [text]


def test_a_context_that_is_no_json_is_refused_before_anything_is_asked(engine: LeaseEngine) -> None:
    with pytest.raises(ConfigurationError, match="context="):
        engine.try_acquire("x", context={"rate": float("nan")})
    assert engine.leases() == []
