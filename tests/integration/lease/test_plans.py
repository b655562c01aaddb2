"""Whatever the tables hold, a verb finds its rows by key."""

from __future__ import annotations

import time
from typing import Any

from airflow_lockprovider.lease import connect

HOT = ("lock", "lease", "waiter", "lease_event", "worker_session")


def _sequential_scans(admin: Any) -> dict[str, int]:
    admin.execute("select pg_stat_clear_snapshot()")
    rows = admin.execute(
        "select relname, seq_scan from pg_stat_user_tables where schemaname = 'lockprovider' and relname = any(%s)",
        (list(HOT),),
    )
    return dict(rows.fetchall())


def test_no_verb_reads_a_whole_table_even_if_its_plan_was_made_while_it_was_empty(database: str, admin: Any) -> None:
    engine = connect(database)
    engine.init_schema()

    def all_verbs(turn: int) -> None:
        lease = engine.try_acquire("x", f"one {turn}")
        ticket = engine.enqueue("x", owner_id=f"two {turn}")
        engine.try_acquire("x", f"three {turn}")
        engine.poll("a process", [ticket.number])
        engine.renew(lease)
        engine.release(lease)
        engine.reserve(ticket.number)
        engine.release(engine.confirm(ticket.number, f"two {turn}"))
        both = engine.try_acquire(["x", "y"], f"four {turn}")
        engine.enqueue(["x", "y"], owner_id=f"five {turn}")
        engine.release(both)
        engine.acquire(["x", "y"], 0, f"five {turn}")
        engine.revoke("x", by="ann", reason="why")
        engine.revoke("y", by="ann", reason="why")

    all_verbs(0)
    admin.execute("insert into lockprovider.lock (lock_name) select 'lock ' || n from generate_series(1, 3000) n")
    admin.execute(
        "insert into lockprovider.lease (lock_name, token, owner_id, owner, state, ttl, expires_at)"
        " select 'lock ' || n, 1, 'o' || n, 'o', 'held', 60, now() + interval '1 hour' from generate_series(1, 3000) n"
    )
    admin.execute(
        "insert into lockprovider.waiter (ticket, lock_name, owner_id, owner)"
        " select 1000000 + n, 'lock ' || n, 'w' || n, 'w' from generate_series(1, 3000) n"
    )
    admin.execute(
        "insert into lockprovider.lease_event (lock_name, owner_id, owner, event)"
        " select 'lock ' || n % 10, '', '', 'released' from generate_series(1, 3000) n"
    )
    engine.close()  # a session that ends tells what it has scanned
    engine.leases("x")
    all_verbs(1)
    before = _sequential_scans(admin)
    for turn in range(2, 12):
        all_verbs(turn)
    engine.close()
    for _ in range(50):
        if not admin.execute(
            "select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        ).fetchone():
            break
        time.sleep(0.05)
    assert _sequential_scans(admin) == before
