"""Every example DAG, once to its end."""

from __future__ import annotations

from collections.abc import Callable

from tests.dags.conftest import Run, Stage

Runner = Callable[..., Run]
DONE = "success"


def test_the_first_dag_runs_node_b_between_two_guarded_writes(run: Runner, stage: Stage) -> None:
    done = run("node_b_first", node_b_seconds=0.1)
    assert (done.state, set(done.tasks.values())) == (DONE, {DONE})
    ((seconds, token),) = stage.rows(
        "select extract(epoch from ended_at - started_at), token from demo.node_b_run where dag_id = %s", "node_b_first"
    )
    assert 0.1 <= seconds < 5
    assert stage.rows("select event from lockprovider.lease_event where token = %s order by at", token)[-1] == (
        "released",
    )


def test_the_second_dag_runs_the_same_node_b_under_a_later_token(run: Runner, stage: Stage) -> None:
    run("node_b_first", node_b_seconds=0)
    done = run("node_b_second", node_b_seconds=0)
    assert (done.state, set(done.tasks.values())) == (DONE, {DONE})
    rows = stage.rows("select dag_id from demo.node_b_run where ended_at is not null order by token")
    assert rows[-2:] == [("node_b_first",), ("node_b_second",)]


def test_flights_of_both_regions_equal_the_input(run: Runner, stage: Stage) -> None:
    first, second = run("flights_region1"), run("flights_region2")
    assert (first.state, second.state) == (DONE, DONE)
    assert stage.world.loaded(stage.world.region1_dsn) == stage.world.expected()
    assert stage.world.loaded(stage.world.region2_dsn) == stage.world.expected()
