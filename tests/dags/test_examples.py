"""Every example DAG, once to its end; then its single steps."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from airflow_lockprovider.demo.lake import REGION_2
from airflow_lockprovider.lease import connect
from tests.dags.conftest import Run, Stage, query

Runner = Callable[..., Run]
DONE, SKIPPED = "success", "skipped"


def test_the_first_dag_runs_node_b_between_two_guarded_writes(run: Runner, stage: Stage) -> None:
    done = run("node_b_first", node_b_seconds=0.1)
    assert (done.state, set(done.tasks.values())) == (DONE, {DONE})
    ((seconds, token),) = stage.rows(
        "select extract(epoch from ended_at - started_at), token from demo.node_b_run where run_id = %s", done.run_id
    )
    assert 0.1 <= seconds < 10
    events = [event for (event,) in stage.rows("select event from lockprovider.lease_event where token = %s", token)]
    assert events.count("guarded") == 2
    assert events.count("released") == 1


def test_the_second_dag_runs_the_same_node_b_under_a_later_token(run: Runner, stage: Stage) -> None:
    runs = [run("node_b_first", node_b_seconds=0), run("node_b_second", node_b_seconds=0)]
    assert [set(done.tasks.values()) for done in runs] == [{DONE}, {DONE}]
    rows = stage.rows("select dag_id, run_id from demo.node_b_run where ended_at is not null order by token")
    assert rows[-2:] == [("node_b_first", runs[0].run_id), ("node_b_second", runs[1].run_id)]


@pytest.mark.usefixtures("dags")  # has put the dags folder on sys.path
def test_a_lost_lease_keeps_the_second_write_of_node_b_out(stage: Stage) -> None:
    from shared_steps.node_b import run_node_b

    from airflow_lockprovider.exceptions import LeaseLost

    locks = connect(stage.world.region1_dsn)
    lease = locks.try_acquire("node_b")
    assert lease

    class RevokedMeanwhile(dict[str, float]):
        """Somebody takes the lock away between the two writes."""

        def __getitem__(self, name: str) -> float:
            locks.revoke("node_b", by="ann", reason="test")
            return 0.0

    class Who:
        dag_id, run_id = "node_b_first", "revoked"

    with pytest.raises(LeaseLost):
        run_node_b(lease, RevokedMeanwhile(), Who())
    locks.close()
    assert stage.rows("select ended_at from demo.node_b_run where run_id = 'revoked'") == [(None,)]


def test_the_pipeline_runs_when_nobody_else_is_at_it(run: Runner, stage: Stage) -> None:
    done = run("runs_once", work_seconds=0)
    assert done.tasks == {"work": DONE, "report": DONE}
    assert stage.rows("select count(*) from demo.pipeline_run where run_id = %s", done.run_id) == [(1,)]


def test_a_duplicate_run_is_skipped_with_all_that_follows(run: Runner, stage: Stage) -> None:
    locks = connect(stage.world.region1_dsn)
    with locks.hold("pipeline.runs_once"):
        done = run("runs_once", work_seconds=0)
    locks.close()
    assert done.tasks == {"work": SKIPPED, "report": SKIPPED}
    assert stage.rows("select count(*) from demo.pipeline_run where run_id = %s", done.run_id) == [(0,)]


def test_a_failure_arrives_as_event_and_as_mail_with_lock_and_token(run: Runner, stage: Stage) -> None:
    stage.world.alerts()
    before = len(stage.mail.files())
    done = run("fails_and_alerts")
    assert (done.state, done.tasks) == ("failed", {"fail_under_lock": "failed"})
    ((token,),) = stage.rows("select max(token) from lockprovider.lease_event where lock_name = 'fails_and_alerts'")
    (event,) = stage.world.alerts()
    (mail,) = stage.mail.messages()[before:]
    body = mail.get_body(("html", "plain"))
    assert body is not None
    for text in (str(event["detail"]), body.get_content()):
        assert "planned failure" in text
        assert "fails_and_alerts" in text
        assert str(token) in text


def test_the_watch_tells_of_a_lock_that_is_held_too_long_once_and_when_it_is_over(run: Runner, stage: Stage) -> None:
    stage.world.alerts()
    before = len(stage.mail.files())
    locks = connect(stage.world.region1_dsn)
    with locks.hold("held_for_ever", owner="nightly/run/load#1", context={"expected_hold": 0.001}):
        assert [run("watch_locks").state for _ in range(2)] == [DONE, DONE]
    assert run("watch_locks").state == DONE
    locks.close()

    said = [mail["Subject"] for mail in stage.mail.messages()[before:]]
    assert [subject for subject in said if "held_for_ever" in subject] == said
    assert ["RECOVERED" in subject for subject in said] == [False, True]
    events = stage.world.alerts()
    assert len(events) == 2
    assert "nightly/run/load#1" in str(events[0]["detail"])


def test_the_watch_hears_from_airflow_that_an_owner_is_dead(run: Runner, stage: Stage) -> None:
    ended = run("node_b_first", only_step="node_c")
    before = len(stage.mail.files())
    context = {"dag_id": "node_b_first", "run_id": ended.run_id, "task_id": "node_c", "map_index": -1}
    locks = connect(stage.world.region1_dsn)
    with locks.hold("held_by_the_dead", owner="node_b_first/…/node_c#1", context=context):
        assert run("watch_locks").state == DONE
    locks.close()

    (mail,) = stage.mail.messages()[before:]
    assert "lock 'held_by_the_dead': dead owner" in mail["Subject"]
    body = mail.get_body(("plain", "html"))
    assert body is not None
    assert "its task is success, but the lease lives" in body.get_content()
    assert run("watch_locks").state == DONE  # and tells that it is over


def test_flights_of_both_regions_equal_the_input(flights: tuple[Run, Run], stage: Stage) -> None:
    assert [set(done.tasks.values()) for done in flights] == [{DONE}, {DONE}]
    expected = stage.world.expected()
    assert sum(totals.flights for totals in expected.values()) == 336_776
    assert stage.world.loaded(stage.world.region1_dsn) == expected
    assert stage.world.loaded(stage.world.region2_dsn) == expected


@pytest.mark.usefixtures("flights")
def test_loading_again_is_the_same_as_loading_once_under_a_new_token(run: Runner, stage: Stage) -> None:
    tokens = "select distinct lock_token from dwh.flights"
    dsns = (stage.world.region1_dsn, stage.world.region2_dsn)
    before = [query(dsn, tokens) for dsn in dsns]
    done = [run("flights_region1", only_step="load"), run("flights_region2", only_step="load")]
    assert [each.tasks["load"] for each in done] == [DONE, DONE]
    for dsn, ((earlier,),) in zip(dsns, before, strict=True):
        ((later,),) = query(dsn, tokens)
        assert later > earlier
        assert stage.world.loaded(dsn) == stage.world.expected()


@pytest.mark.usefixtures("flights")
def test_a_late_owner_changes_nothing_in_region_2(stage: Stage) -> None:
    """No guard reaches that database; the token in the rows has to do it."""
    from flights_steps.load_scripts import LOAD_REGION_2

    ((newest,),) = query(stage.world.region2_dsn, "select max(lock_token) from dwh.flights")
    script = [sql.replace("{{ lease.token }}", str(newest - 1)) for sql in LOAD_REGION_2]
    api = stage.world.client("redshift-data", REGION_2)
    asked = api.batch_execute_statement(Sqls=script, ClusterIdentifier="dwh-region2", Database="dwh")
    while (done := api.describe_statement(Id=asked["Id"]))["Status"] not in ("FINISHED", "FAILED", "ABORTED"):
        time.sleep(0.05)
    assert done["Status"] == "FINISHED", done
    assert [part["ResultRows"] for part in done["SubStatements"][2:]] == [0, 0]
    assert query(stage.world.region2_dsn, "select distinct lock_token from dwh.flights") == [(newest,)]


def test_a_step_that_was_not_chosen_is_skipped_before_it_takes_the_lock(run: Runner, stage: Stage) -> None:
    locks = connect(stage.world.region1_dsn)
    with locks.hold("node_b"):  # would wait if it came to that
        done = run("node_b_first", only_step="node_c")
    locks.close()
    assert {name: done.tasks[name] for name in ("node_a", "node_b", "node_c")} == {
        "node_a": SKIPPED,
        "node_b": SKIPPED,
        "node_c": DONE,
    }


def test_the_chosen_step_runs_alone_and_takes_the_lock(run: Runner, stage: Stage) -> None:
    done = run("node_b_second", only_step="node_b", node_b_seconds=0)
    assert [done.tasks[name] for name in ("node_d", "node_b", "node_e")] == [SKIPPED, DONE, SKIPPED]
    assert stage.rows("select count(*) from demo.node_b_run where run_id = %s", done.run_id) == [(1,)]


def test_an_unknown_step_is_refused(run: Runner) -> None:
    with pytest.raises(Exception, match="only_step"):
        run("node_b_first", only_step="node_x")
