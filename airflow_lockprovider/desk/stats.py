"""``stats``: how long locks were held and waited for."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from airflow_lockprovider.desk.verbs import Desk
from airflow_lockprovider.lease.duration import seconds
from airflow_lockprovider.lease.overview import Filter

LOCK_COLUMNS = ("lock", "grants", "held_avg", "held_p95", "waited_avg", "waited_max", "expired", "revoked", "last_at")
OWNER_COLUMNS = ("lock", "dag_id", "task_id", "grants", "held_avg", "held_max", "waited_avg", "waited_max", "lost")


def stats(args: Namespace, desk: Desk) -> None:
    """Print a row per lock, or per lock and task; the busiest first."""
    period = seconds(args.since, setting="--since")
    if args.owners:
        rows = desk.engine.owner_statistics(period, Filter(lock_name=args.lock))
    else:
        rows = desk.engine.lock_statistics(period, args.lock)
    desk.show([_named(row) for row in rows], args.output, OWNER_COLUMNS if args.owners else LOCK_COLUMNS)


def _named(row: dict[str, Any]) -> dict[str, Any]:
    return {"lock": row["lock_name"], **{name: value for name, value in row.items() if name != "lock_name"}}
