"""The example DAG with one lease over several tasks, to its end: so in `dag.test()`, too."""

from __future__ import annotations

from tests.dags.conftest import Run, Stage


def test_all_tasks_of_the_scope_work_under_one_token_that_is_then_given_back(run, stage: Stage) -> None:
    done: Run = run("scope_of_locks", report_seconds=0)

    assert done.state == "success"
    assert set(done.tasks.values()) == {"success"}
    rows = stage.rows("select amount, token, published from demo.scope_sales where run_id = %s", done.run_id)
    assert [(amount, published) for amount, _, published in rows] == [(120, True), (80, True), (40, True)]
    (token,) = {token for _, token, _ in rows}
    events = stage.rows("select event from lockprovider.lease_event where token = %s and event <> 'guarded'", token)
    assert events == [("granted",), ("released",)]


def test_a_second_run_works_under_a_later_token(run, stage: Stage) -> None:
    runs = [run("scope_of_locks", report_seconds=0) for _ in range(2)]
    tokens = [
        stage.rows("select distinct token from demo.scope_sales where run_id = %s", done.run_id)[0][0] for done in runs
    ]
    assert tokens == sorted(set(tokens))
