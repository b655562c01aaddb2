"""`airflow locks check` and `stats` on a real database: what is said, and the exit code for scripts."""

from __future__ import annotations

import psycopg
import pytest

from airflow_lockprovider import LeaseHook
from tests.integration.test_cli import Cli, busy, connection, locks, locks_cli, one_line

__all__ = ["busy", "connection", "locks", "locks_cli"]


@pytest.fixture
def shift(database: str):
    """Make things as old as a test needs them: by the database's clock there is no other way."""

    def shift(table: str, seconds: float, columns: str = "created_at"):
        moved = ", ".join(f"{column} = {column} - make_interval(secs => {seconds})" for column in columns.split())
        with psycopg.connect(database, autocommit=True) as opened:
            opened.execute(f"update lockprovider.{table} set {moved}".encode())

    return shift


def test_nothing_wrong_is_exit_code_0_in_every_format(busy, locks_cli: Cli):
    assert locks_cli("check").out == "nothing is wrong: 2 leases, 2 waiting\n"
    assert locks_cli("check", "-o", "json").json == []
    assert {locks_cli("check", "-o", output).code for output in ("table", "plain", "json", "yaml")} == {0}


def test_what_is_wrong_is_printed_with_what_to_do_and_ends_with_exit_code_3(busy, shift, locks_cli: Cli):
    shift("lease", 7200)

    told = locks_cli("check")

    assert told.code == 3
    assert told.err == ""
    assert "held too long" in told.out
    assert "held for 2h 0m, expected were 1h 0m at most" in told.out
    assert "dwh.sales, held too long: look at its task" in told.out
    assert "airflow locks revoke dwh.sales --reason" in told.out


def test_programs_get_rows(busy, shift, locks_cli: Cli):
    shift("waiter", 7200)

    told = locks_cli("check", "--lock", "dwh.sales", "-o", "json")

    assert told.code == 3
    assert [(row["lock"], row["problem"], row["owner"]) for row in told.json] == [
        ("dwh.sales", "waiting too long", "hourly/run/load[3]#1"),
        ("dwh.sales", "waiting too long", "weekly/run/load#1"),
    ]
    assert told.json[0]["for_seconds"] == pytest.approx(7200, abs=60)
    assert told.json[0]["todo"] == "airflow locks show dwh.sales"


def test_thresholds_come_from_the_configuration_and_from_the_command_line(
    busy, shift, locks_cli: Cli, monkeypatch: pytest.MonkeyPatch
):
    shift("lease", 600)
    assert locks_cli("check").code == 0
    assert locks_cli("check", "--held", "5 mins").code == 3
    monkeypatch.setenv("AIRFLOW__LOCKPROVIDER__WATCH_HELD", "5 mins")
    assert locks_cli("check").code == 3
    assert locks_cli("check", "--held", "never").code == 0
    assert "queue too long" in locks_cli("check", "--held", "never", "--queue", "1").out
    assert "--queue='many'" in one_line(locks_cli("check", "--queue", "many"))
    assert "--held='soon'" in one_line(locks_cli("check", "--held", "soon"))
    assert "--growth='soon'" in one_line(locks_cli("check", "--growth", "soon"))


def test_a_queue_that_grows_is_told_over_as_long_a_time_as_is_asked_for(
    locks: LeaseHook, locks_cli: Cli, database: str, monkeypatch: pytest.MonkeyPatch
):
    locks.try_acquire("dwh.sales")
    for number in range(10):
        ticket = locks.enqueue("dwh.sales", owner_id=str(number))
        with psycopg.connect(database, autocommit=True) as opened:
            opened.execute(
                "update lockprovider.waiter set seen_at = seen_at + interval '10 minutes',"
                f" created_at = created_at - interval '{number} minutes' where ticket = {ticket.number}".encode()
            )

    def told(*options: str) -> list[str]:
        return [row["problem"] for row in locks_cli("check", "-o", "json", *options).json]

    assert told() == []
    assert told("--growth", "8 mins") == told("--lock", "dwh.sales", "--growth", "8 mins") == ["queue growing"]
    monkeypatch.setenv("AIRFLOW__LOCKPROVIDER__WATCH_GROWTH", "8 mins")
    (row,) = locks_cli("check", "-o", "json").json
    assert row["text"].startswith("10 wait, 2 did 8m 0s ago: 8 came, none was served")
    assert (row["detail"]["waiting"], row["detail"]["span_seconds"], row["for_seconds"]) == (10, 480, None)
    assert told("--growth", "never") == []


def test_a_lease_that_is_not_renewed_is_told_before_it_ends(locks: LeaseHook, shift, locks_cli: Cli):
    locks.try_acquire("dwh.sales")
    shift("lease", 90, "renewed_at expires_at")

    assert [row["problem"] for row in locks_cli("check", "-o", "json").json] == ["renewal late"]


def test_clean_up_is_done_only_when_asked_for(locks: LeaseHook, shift, locks_cli: Cli, database: str):
    locks.try_acquire("dwh.sales")
    shift("lease", 3600, "renewed_at expires_at")

    def rows():
        with psycopg.connect(database) as opened:
            return opened.execute("select count(*) from lockprovider.lease").fetchone()

    assert locks_cli("check").code == 0
    assert rows() == (1,)
    assert locks_cli("check", "--clean-up").code == 0
    assert rows() == (0,)


def test_the_owner_of_a_lease_is_dead_when_airflow_says_that_its_task_has_ended(
    locks: LeaseHook, locks_cli: Cli, ended
):
    locks.try_acquire("dwh.sales", ended["failed"], owner="d/r/load#1", context={"host": "node7"})
    locks.try_acquire("dwh.orders", ended["running"], owner="d/r/other#1")
    locks.try_acquire("dwh.stock", "not-a-task", owner="node7:42")

    (row,) = locks_cli("check", "-o", "json").json

    assert (row["lock"], row["problem"]) == ("dwh.sales", "dead owner")
    assert row["text"] == "its task is failed, but the lease lives: the work may still go on on node7"


def test_a_task_that_runs_without_its_lease_is_told(locks: LeaseHook, shift, locks_cli: Cli, ended):
    locks.try_acquire("dwh.sales", ended["running"], owner="d/r/load#1")
    shift("lease", 3600, "renewed_at expires_at")

    (row,) = locks_cli("check", "--clean-up", "-o", "json").json

    assert (row["lock"], row["problem"]) == ("dwh.sales", "lease lost")
    assert row["text"].endswith("but the task is running")


@pytest.fixture
def ended(airflow_db, monkeypatch: pytest.MonkeyPatch):
    """State → id of a task instance in that state, in Airflow's own database."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import delete, select

    from airflow_lockprovider.web.run_alone import run_alone
    from tests.integration.test_run_alone import sync

    sync()
    with create_session() as session:
        run = run_alone("alone_line", "load", session=session, user_name="ann")
        where = (TaskInstance.dag_id == run.dag_id, TaskInstance.run_id == run.run_id)
        rows = {each.task_id: each for each in session.scalars(select(TaskInstance).where(*where))}
        rows["load"].state, rows["publish"].state = "running", "failed"
        ids = {"running": str(rows["load"].id), "failed": str(rows["publish"].id)}
    yield ids
    from airflow.models.dagrun import DagRun

    with create_session() as session:
        session.execute(delete(DagRun).where(DagRun.run_id == run.run_id))


def test_alert_needs_somebody_to_tell(locks: LeaseHook, locks_cli: Cli):
    assert "there is nobody to alert: set alerts in section lockprovider" in one_line(locks_cli("check", "--alert"))


def test_stats_by_lock_and_by_task(locks: LeaseHook, locks_cli: Cli):
    for task in ("load", "load", "publish"):
        locks.release(locks.try_acquire("dwh.sales", context={"dag_id": "nightly", "task_id": task}))
    locks.release(locks.try_acquire("dwh.orders"))

    assert {row["lock"]: row["grants"] for row in locks_cli("stats", "-o", "json").json} == {
        "dwh.sales": 3,
        "dwh.orders": 1,
    }
    (orders,) = locks_cli("stats", "--lock", "dwh.orders", "-o", "json").json
    assert 0 <= orders["held_avg_seconds"] < 10
    by_task = locks_cli("stats", "--owners", "--lock", "dwh.sales", "-o", "json").json
    assert {(row["dag_id"], row["task_id"]): row["grants"] for row in by_task} == {
        ("nightly", "load"): 2,
        ("nightly", "publish"): 1,
    }
    assert "held_p95" in locks_cli("stats").out
    assert "--since='soon'" in one_line(locks_cli("stats", "--since", "soon"))


def test_upgrade_is_init(connection: str, locks_cli: Cli):
    assert "are now at version" in locks_cli("upgrade").out
    assert "were already at version" in locks_cli("upgrade").out
