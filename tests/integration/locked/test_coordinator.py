"""One coordinator looks after all waiters and leases of a triggerer: two threads, two connections, few statements."""

from __future__ import annotations

import asyncio
import threading
import time

import psycopg
import pytest

from airflow_lockprovider import LeaseHook
from airflow_lockprovider.lease.settings import LeaseSettings
from airflow_lockprovider.triggers.coordinator import Coordinator

pytestmark = pytest.mark.usefixtures("hook")


@pytest.fixture
def sql(database, hook):
    with psycopg.connect(database, autocommit=True, application_name="the test") as connection:
        yield connection.execute


@pytest.fixture
def run_with():
    """Run a coroutine with a coordinator of these settings, and let its threads end."""

    def go(work, **settings):
        hook = LeaseHook(settings=LeaseSettings(**{"poll_interval": 0.05, **settings}))
        coordinator = Coordinator(hook)

        async def main():
            await hook.resolve()
            hook.store  # noqa: B018  (made here, so that tests may look into it)
            try:
                return await work(coordinator, hook)
            finally:
                for entry in [*coordinator._waiting, *coordinator._kept]:
                    coordinator.forget(entry)

        return asyncio.run(main())

    return go


def queue_up(sql, names, *, held=True):
    """A ticket for each name. Written by hand: a thousand of them by verbs would take a while."""
    sql("insert into lockprovider.lock (lock_name) select distinct unnest(%s::text[]) on conflict do nothing", (names,))
    if held:
        sql(
            "insert into lockprovider.lease (lock_name, token, owner_id, owner, state, ttl, expires_at)"
            " select distinct on (n) n, 1, n, 'somebody', 'held', 3600, clock_timestamp() + interval '1 hour'"
            " from unnest(%s::text[]) n on conflict do nothing",
            (names,),
        )
    rows = sql(
        "insert into lockprovider.waiter (ticket, lock_name, owner_id, owner)"
        " select nextval('lockprovider.ticket'), n, gen_random_uuid(), 'me' from unnest(%s::text[]) n returning ticket",
        (names,),
    )
    return [row[0] for row in rows]


def sessions(sql):
    """The connections of the coordinator: whoever has said something and is not the test."""
    return [
        row[0]
        for row in sql(
            "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
            " and backend_type = 'client backend' and application_name <> 'the test'"
        )
    ]


async def until(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.02)


def wait_all(coordinator, tickets, **options):
    given = {"handover_ttl": None, "not_before": 0.0, **options}
    return [coordinator.wait(ticket, **given) for ticket in tickets]


def keep(coordinator, lease):
    return coordinator.keep(lock_name=lease.lock_name, owner_id=lease.owner_id, token=lease.token, ttl=lease.ttl)


def test_a_hundred_waiters_and_a_hundred_leases_have_two_threads_and_two_connections(run_with, hook, sql):
    tickets = queue_up(sql, [f"waited {number}" for number in range(100)])
    leases = [hook.try_acquire(f"kept {number}") for number in range(100)]
    hook.close()
    before = set(threading.enumerate())

    async def work(coordinator, _):
        wait_all(coordinator, tickets)
        for lease in leases:
            keep(coordinator, lease)
        await until(lambda: len(sessions(sql)) == 2)
        await asyncio.sleep(0.5)
        return len(sessions(sql)), sorted(thread.name for thread in set(threading.enumerate()) - before)

    connections, threads = run_with(work)
    assert connections == 2
    # The watchdog only cuts calls that take too long; the loop's own pool looks the Airflow connection up.
    assert [name for name in threads if name.startswith("lease-") and "watchdog" not in name] == [
        "lease-keeper-dwh_default",
        "lease-waiter-dwh_default",
    ]


def test_a_renewal_does_not_wait_for_a_lock_that_somebody_is_deciding_about(run_with, hook, sql, database):
    blocked, free = hook.try_acquire("blocked", ttl=600), hook.try_acquire("free", ttl=600)
    (ticket,) = queue_up(sql, ["blocked"], held=False)
    sql("update lockprovider.lease set expires_at = clock_timestamp() + interval '1 minute'")

    def expiries():
        return {row[0]: row[1] for row in sql(
            "select lock_name, extract(epoch from expires_at - clock_timestamp()) from lockprovider.lease"
        )}  # fmt: skip

    async def work(coordinator, _):
        with psycopg.connect(database) as deciding:
            deciding.execute("select 1 from lockprovider.lock where lock_name = 'blocked' for update")
            deciding.execute("select 1 from lockprovider.lease where lock_name = 'blocked' for update")
            wait_all(coordinator, [ticket])
            kept = [keep(coordinator, lease) for lease in (blocked, free)]
            await until(lambda: expiries()["free"] > 500, seconds=2)
            assert expiries()["blocked"] < 100
            assert not any(entry.lost.done() for entry in kept), "a row that is locked for a moment is no loss"
        await until(lambda: expiries()["blocked"] > 500, seconds=3)

    run_with(work)


def test_renewals_go_on_while_the_thread_of_the_waiters_hangs(run_with, hook, sql, database):
    lease = hook.try_acquire("kept", ttl=2)
    tickets = queue_up(sql, ["waited"])

    async def work(coordinator, _):
        with psycopg.connect(database) as jam:
            jam.execute("lock table lockprovider.worker_session in access exclusive mode")
            wait_all(coordinator, tickets)
            kept = keep(coordinator, lease)
            await asyncio.sleep(3)  # longer than it lives without a renewal
            assert not kept.lost.done()
        return hook.renew(lease).token

    assert run_with(work) == lease.token


def test_one_round_is_one_look_and_one_call_for_each_that_may_get_its_lock(run_with, hook, sql, monkeypatch):
    names = [f"lock {number}" for number in range(20)]
    tickets = queue_up(sql, names)
    calls = []

    async def work(coordinator, own):
        plain = type(own.store).call

        def call(store, name, **params):
            calls.append(name)
            return plain(store, name, **params)

        monkeypatch.setattr(type(own.store), "call", call)
        entries = wait_all(coordinator, tickets)
        await asyncio.sleep(0.5)
        assert set(calls) <= {"listen", "look"}
        sql("delete from lockprovider.lease where lock_name in ('lock 3', 'lock 7')")
        await until(lambda: entries[3].answer.done() and entries[7].answer.done())
        assert [call for call in calls if call not in ("listen", "look")] == ["reserve", "reserve"]
        assert sum(entry.answer.done() for entry in entries) == 2

    run_with(work)


def test_a_connection_that_is_cut_is_opened_anew_and_nobody_is_lost(run_with, hook, sql):
    lease = hook.try_acquire("kept", ttl=600)
    hook.close()
    tickets = queue_up(sql, [f"waited {number}" for number in range(10)])

    async def work(coordinator, _):
        entries = wait_all(coordinator, tickets)
        kept = keep(coordinator, lease)
        await until(lambda: len(sessions(sql)) == 2)
        for _ in range(3):
            old = sessions(sql)
            sql("select pg_terminate_backend(pid) from unnest(%s::int[]) pid", (old,))
            kept.due = 0.0
            with coordinator._changed:
                coordinator._changed.notify_all()
            await until(lambda old=old: len(sessions(sql)) == 2 and not set(old) & set(sessions(sql)))
        assert not kept.lost.done()
        sql("delete from lockprovider.lease where lock_name like 'waited%%'")
        for entry in entries:
            async with asyncio.timeout(10):
                assert await entry.answer

    run_with(work)


def test_a_connection_that_was_cut_listens_again(run_with, hook, sql):
    lease = hook.try_acquire("waited")
    ticket = hook.enqueue("waited", owner_id="me").number
    hook.close()

    async def work(coordinator, _):
        (entry,) = wait_all(coordinator, [ticket])
        entry.since -= 1000  # a fresh ticket would look often at first
        await until(lambda: len(sessions(sql)) == 1)
        await asyncio.sleep(0.3)
        sql("select pg_terminate_backend(pid) from unnest(%s::int[]) pid", (sessions(sql),))
        await until(lambda: len(sessions(sql)) == 1)
        await asyncio.sleep(0.5)
        before = time.monotonic()
        hook.release(lease)
        hook.close()
        async with asyncio.timeout(8):
            assert await entry.answer
        return time.monotonic() - before

    assert run_with(work, poll_interval=8.0) < 4


def lag_of(loop_seconds):
    """Coroutine: the longest time for which the event loop did nothing, in seconds."""

    async def measure():
        worst, end = 0.0, time.monotonic() + loop_seconds
        while (last := time.monotonic()) < end:
            await asyncio.sleep(0.005)
            worst = max(worst, time.monotonic() - last - 0.005)
        return worst

    return measure()


def test_a_slow_database_does_not_block_the_event_loop(run_with, hook, sql, database):
    lease = hook.try_acquire("kept", ttl=600)
    tickets = queue_up(sql, [f"waited {number}" for number in range(300)])

    async def work(coordinator, _):
        lags = []
        with psycopg.connect(database) as jam:
            jam.execute("lock table lockprovider.worker_session, lockprovider.lease in access exclusive mode")
            # Whatever blocks blocks each time; a machine that is busy with something else does not.
            for _ in range(4):
                measuring = asyncio.ensure_future(lag_of(0.7))
                await asyncio.sleep(0.05)
                entries = [wait_all(coordinator, [ticket])[0] for ticket in tickets]
                kept = keep(coordinator, lease)
                await asyncio.sleep(0.2)
                coordinator.forget(kept)
                for entry in entries:
                    coordinator.forget(entry)
                lags.append(await measuring)
        return min(lags)

    assert run_with(work) < 0.05


def test_a_thousand_waiters_cost_at_most_one_statement_per_second_also_beside_a_long_transaction(
    run_with, hook, sql, database, monkeypatch
):
    tickets = queue_up(sql, [f"lock {number % 50}" for number in range(1000)])
    sql("insert into lockprovider.standby (ticket, mode) select unnest(%s::bigint[]), 'auto'", (tickets,))
    sql("analyze")
    looks = []

    async def work(coordinator, own):
        plain = type(own.store).call

        def call(store, name, **params):
            before = time.monotonic()
            try:
                return plain(store, name, **params)
            finally:
                looks.append((name, before, time.monotonic() - before))

        monkeypatch.setattr(type(own.store), "call", call)
        with psycopg.connect(database) as long:
            long.execute("set transaction isolation level repeatable read")
            long.execute("select count(*) from lockprovider.waiter")
            entries = wait_all(coordinator, tickets)
            for entry in entries:
                entry.since -= 1000  # a fresh ticket looks often at first
            await asyncio.sleep(2)
            looks.clear()
            await asyncio.sleep(6)
            idle = list(looks)
            # Ten minutes' worth of looks, as far as they write, beside the same transaction: their cost must not grow.
            for _ in range(600):
                sql("select count(*) from lockprovider.poll(%s, '{}')", (coordinator.session_id,))
            looks.clear()
            await asyncio.sleep(4)
            late = [seconds for name, _, seconds in looks if name == "look"]
        return idle, late

    idle, late = run_with(work, poll_interval=1.0)
    assert {name for name, _, _ in idle} == {"look"}
    assert 3 <= len(idle) <= 6, "one look per second for all of them"
    first = min(seconds for _, _, seconds in idle)
    assert min(late) < 3 * first + 0.05, f"a look took {first:.3f} s, after 400 of them {min(late):.3f} s"


def test_tickets_of_nobody_do_no_harm(run_with, sql, hook):
    async def work(coordinator, _):
        (entry,) = wait_all(coordinator, [987654321])
        async with asyncio.timeout(5):
            return await entry.answer

    assert run_with(work) is None


def test_who_gives_back_wakes_only_the_process_whose_turn_it_is(run_with, hook, sql, monkeypatch):
    ours, theirs = hook.try_acquire("ours"), hook.try_acquire("theirs")
    ticket = hook.enqueue("ours", owner_id="me").number
    hook.enqueue("theirs", owner_id="somebody elsewhere")
    looks = []

    async def work(coordinator, own):
        plain = type(own.store).call

        def call(store, name, **params):
            if name == "look":
                looks.append(time.monotonic())
            return plain(store, name, **params)

        monkeypatch.setattr(type(own.store), "call", call)
        (entry,) = wait_all(coordinator, [ticket])
        entry.since -= 1000
        await until(lambda: looks)
        await asyncio.sleep(0.5)
        looks.clear()
        hook.release(theirs)
        await asyncio.sleep(0.5)
        assert looks == []
        hook.release(ours)
        async with asyncio.timeout(5):
            assert await entry.answer

    run_with(work, poll_interval=8.0)
