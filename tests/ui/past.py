"""A past for the locks: a night of nightly runs, with one that was revoked and one that died."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import psycopg

# lock, DAG, task, hours ago, minutes held, minutes waited, how it ended
_NIGHT = [
    ("dwh.sales", "nightly_sales", "load", 22.0, 34, 0, "released"),
    ("dwh.sales", "backfill_sales", "load", 21.2, 71, 46, "released"),
    ("dwh.sales", "nightly_sales", "load", 17.5, 41, 0, "released"),
    ("dwh.sales", "sales_to_crm", "copy", 16.7, 12, 9, "released"),
    ("dwh.sales", "backfill_sales", "load", 14.0, 160, 3, "revoked"),
    ("dwh.sales", "nightly_sales", "load", 11.2, 38, 125, "released"),
    ("dwh.sales", "sales_to_crm", "copy", 9.0, 25, 0, "expired"),
    ("dwh.sales", "nightly_sales", "load", 8.2, 36, 21, "released"),
    ("dwh.sales", "nightly_sales", "load", 4.4, 44, 0, "released"),
    ("dwh.sales", "backfill_sales", "load", 3.5, 82, 12, "released"),
    ("dwh.stock", "stock_levels", "merge", 12.0, 15, 0, "released"),
    ("dwh.stock", "stock_levels", "merge", 6.0, 17, 2, "released"),
    ("dwh.fx_rates", "fx", "load", 7.0, 2, 0, "released"),
    ("dwh.fx_rates", "fx", "load", 1.0, 3, 0, "released"),
]


def fill(dsn: str) -> None:
    """Write the night into the history, as the engine would have written it."""
    now = datetime.now(UTC)
    with psycopg.connect(dsn, autocommit=True) as connection:
        for number, (lock, dag, task, ago, held, waited, end) in enumerate(_NIGHT, start=1):
            connection.execute("insert into lockprovider.lock (lock_name) values (%s) on conflict do nothing", (lock,))
            start = now - timedelta(hours=ago)
            run = f"scheduled__{start:%Y-%m-%dT%H:00:00+00:00}"
            context = {"dag_id": dag, "run_id": run, "task_id": task, "map_index": -1, "try_number": 1}
            about = (lock, number, f"past-{number}", f"{dag}/{run}/{task}#1", json.dumps(context), waited * 60)
            for event, at in (("granted", start), (end, start + timedelta(minutes=held))):
                who, why = ("ann", "the source was wrong, see the run's note") if event == "revoked" else (None, None)
                connection.execute(
                    "insert into lockprovider.lease_event"
                    " (lock_name, token, owner_id, owner, context, waited, event, at, held, actor, reason, units)"
                    " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 1)",
                    (*about, event, at, None if event == "granted" else held * 60.0, who, why),
                )
