"""The story of the demo: DAGs that get in each other's way, and the questions that are asked afterwards."""

from __future__ import annotations

from airflow_lockprovider.demo import proofs
from airflow_lockprovider.demo.console import Console
from airflow_lockprovider.demo.late_owner import freeze_and_replace
from airflow_lockprovider.demo.narrator import Narrator
from airflow_lockprovider.demo.report import Report
from airflow_lockprovider.demo.stage import Stage

DAG_IDS = ["fails_and_alerts", "flights_region1", "flights_region2", "node_b_first", "node_b_second", "runs_once"]
_LIMIT = 400.0
"""Seconds for all runs together; then the demo has failed."""


def play(stage: Stage, console: Console) -> Report:
    """Start everything, let the DAGs run, and collect the proofs from the databases."""
    stage.start(DAG_IDS)
    airflow = stage.airflow
    flights = [("flights_region1", "demo"), ("flights_region2", "demo")]
    shared = [(dag_id, f"demo_{number}") for number in (1, 2) for dag_id in ("node_b_first", "node_b_second")]
    duplicates = [("runs_once", "demo_1"), ("runs_once", "demo_2")]
    failing = ("fails_and_alerts", "demo")
    console.say("dags", "triggering the flights of region 1: CSV in S3, crawl, Spark, crawl, load into the warehouse")
    airflow.client.trigger("flights_region1", run_id="demo")
    console.say("dags", "triggering two DAGs that share Node B, twice each, one pipeline twice, and one that fails")
    for dag_id, run_id in [*shared, *duplicates, failing]:
        airflow.client.trigger(dag_id, run_id=run_id)
    console.say("late owner", "a process takes a lock, is frozen, and wakes up when the lock has a new owner")
    outcome = freeze_and_replace(stage.world.region1_dsn)
    console.say("late owner", outcome.said)
    narrator = Narrator(stage.metadata_dsn, lambda text: console.say("dags", text), stage.wait)
    spark = ("flights_region1", "demo", "spark")
    narrator.until(lambda now: now.tasks.get(spark) == "success" or now.finished([spark[:2]]), timeout=_LIMIT)
    console.say("dags", "triggering the flights of region 2, while S3 still copies what Spark has written")
    airflow.client.trigger("flights_region2", run_id="demo")
    all_runs = [*flights, *shared, *duplicates, failing]
    states = narrator.until(lambda now: now.finished(all_runs), timeout=_LIMIT)
    console.say("proofs", "asking the databases what has really happened")
    report = Report(setting=stage.setting())
    report.proofs += [
        proofs.runs_ended_as_planned({run: states.runs[run] for run in all_runs}, failing=failing),
        proofs.node_b_never_overlapped(stage, expected_runs=len(shared)),
        proofs.region_2_waited_for_its_copy(stage, "flights_region2", "demo"),
        proofs.late_write_was_refused(stage, outcome),
        proofs.duplicate_was_skipped(stage, duplicates),
        proofs.failure_was_told(stage, *failing),
        proofs.rows_equal_the_input(stage),
    ]
    report.seconds = console.elapsed
    return report
