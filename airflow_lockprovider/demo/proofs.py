"""What the demo promises, asked of the databases and mailboxes, not of its own bookkeeping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from airflow_lockprovider.demo.late_owner import LOCK as LATE_LOCK
from airflow_lockprovider.demo.late_owner import Outcome
from airflow_lockprovider.demo.records import records
from airflow_lockprovider.demo.report import Proof
from airflow_lockprovider.demo.stage import Stage

Run = tuple[str, str]


def runs_ended_as_planned(states: Mapping[Run, str], *, failing: Run) -> Proof:
    """Every run succeeded but the one that fails on purpose."""
    odd = {f"{dag_id} {run_id}": state for (dag_id, run_id), state in states.items()
           if state != ("failed" if (dag_id, run_id) == failing else "success")}  # fmt: skip
    summary = f"{len(states)} runs, of which {failing[0]} failed on purpose" if not odd else f"not as planned: {odd}"
    return Proof("all runs ended as planned", not odd, summary, {"odd": odd})


def node_b_never_overlapped(stage: Stage, *, expected_runs: int) -> Proof:
    """By Node B's own records, and by the history of its lock."""
    (own,) = records(stage.world.region1_dsn, "node_b_runs")
    (lock,) = records(stage.world.region1_dsn, "lock_history", lock_name="node_b")
    facts = {"own records": own, "history of the lock": lock}
    # Without somebody who had to wait, it would prove nothing.
    holds = (
        own["runs"] == expected_runs
        and own["dags"] == 2
        and own["unfinished"] == own["overlaps"] == lock["overlaps"] == 0
        and lock["waited"] > 0
    )
    summary = (
        f"{own['runs']} runs of {own['dags']} DAGs, {own['overlaps'] + lock['overlaps']} overlaps, "
        f"{lock['waited']} had to wait (up to {lock['longest_wait'] or 0:.0f} s)"
    )
    return Proof("Node B never overlapped", holds, summary, facts)


def region_2_waited_for_its_copy(stage: Stage, dag_id: str, run_id: str) -> Proof:
    """The first step after the sensor began when the last object had arrived, and the sensor had begun before."""
    copies = stage.aws.replication_journal()
    tasks = records(stage.metadata_dsn, "task_instances", dag_id=dag_id, run_id=run_id)
    sensor = next((task for task in tasks if task["operator"] == "S3ReplicationSensor"), None)
    started = [task["start_date"] for task in tasks if task is not sensor and task["start_date"]]
    arrivals = [copy["replicated_at"] for copy in copies]
    if sensor is None or not started or not arrivals or None in arrivals:
        why = "the sensor, its steps or the copies are missing"
        return Proof("region 2 waited for its copy", False, why, {"copies": copies, "tasks": tasks})
    last, first_step = _utc(max(arrivals)), min(started)
    facts = {
        "objects": len(copies),
        "sensor started": sensor["start_date"],
        "last object arrived": last,
        "first step after the sensor": first_step,
    }
    holds = sensor["start_date"] < last < first_step
    summary = (
        f"{len(copies)} objects; the last arrived {(last - sensor['start_date']).total_seconds():.1f} s after the "
        f"sensor began, the next step began {(first_step - last).total_seconds():.1f} s later"
    )
    return Proof("region 2 waited for its copy", holds, summary, facts)


def late_write_was_refused(stage: Stage, outcome: Outcome) -> Proof:
    """The table has the successor's row and not the late owner's, whose token is the older one."""
    rows = records(stage.world.region1_dsn, "late_writes")
    (lock,) = records(stage.world.region1_dsn, "lock_history", lock_name=LATE_LOCK)
    holds = (
        [row["token"] for row in rows] == [outcome.successor_token]
        and outcome.late_token < outcome.successor_token
        and outcome.refused
        and lock["overlaps"] == 0
    )
    summary = (
        f"token {outcome.late_token} was late, only token {outcome.successor_token} has written"
        if holds
        else f"rows of {rows}, the late owner said: {outcome.said}"
    )
    return Proof("a late owner's guarded write was refused", holds, summary, {"rows": rows, "said": outcome.said})


def duplicate_was_skipped(stage: Stage, runs: Sequence[Run]) -> Proof:
    """Of the runs one has worked, and in the others every task was skipped."""
    states = {}
    for dag_id, run_id in runs:
        tasks = records(stage.metadata_dsn, "task_instances", dag_id=dag_id, run_id=run_id)
        states[run_id] = {task["task_id"]: task["state"] for task in tasks}
    worked = [run_id for run_id, tasks in states.items() if set(tasks.values()) == {"success"}]
    skipped = [run_id for run_id, tasks in states.items() if set(tasks.values()) == {"skipped"}]
    holds = len(worked) == 1 and len(skipped) == len(runs) - 1
    summary = f"of {len(runs)} runs {len(worked)} worked, {len(skipped)} was skipped"
    return Proof("a duplicate run was skipped", holds, summary, {"task states": states})


def failure_was_told(stage: Stage, dag_id: str, run_id: str) -> Proof:
    """Mail and event name the task, the lock and the token that the history of the lock knows."""
    owner = f"{dag_id}/{run_id}/fail_under_lock#1"
    leases = records(stage.world.region1_dsn, "lease_of_task", lock_name=dag_id, owner=owner)
    mails = [str(mail["Subject"]) + "\n" + _body(mail) for mail in stage.mail.messages()]
    events = [str(event) for event in stage.world.alerts()]
    wanted = [run_id, "fail_under_lock", *(str(lease["token"]) for lease in leases)]
    told = {
        name: [text for text in texts if dag_id in text and all(word in text for word in wanted)]
        for name, texts in (("mails", mails), ("events", events))
    }
    holds = len(leases) == 1 and all(len(found) == 1 for found in told.values())
    token = leases[0]["token"] if leases else "unknown"
    summary = f"{len(told['mails'])} mail and {len(told['events'])} event name task, lock and token {token}"
    return Proof("the failure was told", holds, summary, {"lease": leases, "mails": mails, "events": events})


def rows_equal_the_input(stage: Stage) -> Proof:
    """Counts and sums per month and carrier, of both warehouses and of the CSV."""
    expected = stage.world.expected()
    differing: dict[str, Any] = {}
    for name, dsn in (("region 1", stage.world.region1_dsn), ("region 2", stage.world.region2_dsn)):
        loaded = stage.world.loaded(dsn)
        wrong = sorted(key for key in expected.keys() | loaded.keys() if expected.get(key) != loaded.get(key))
        if wrong:
            differing[name] = [{"key": k, "expected": expected.get(k), "loaded": loaded.get(k)} for k in wrong[:10]]
    flights = sum(totals.flights for totals in expected.values())
    summary = (
        f"{flights:,} flights in each of two warehouses, equal in {len(expected)} groups of month and carrier"
        if not differing
        else f"not equal: {', '.join(differing)}"
    )
    facts = {"flights": flights, "groups": len(expected), "differing": differing}
    return Proof("both warehouses equal the input", bool(expected) and not differing, summary, facts)


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _body(mail: Any) -> str:
    part = mail.get_body(("html", "plain"))
    return str(part.get_content()) if part else ""
