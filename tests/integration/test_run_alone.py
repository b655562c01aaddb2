"""One task alone, in Airflow's own database: which task instances the scheduler finds to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_lockprovider.web.run_alone import NotRunAlone, run_alone

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def synced(airflow_db):
    sync()


def sync():
    """Put the DAGs of the file beside this one into the database, as the DAG processor does."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db

    DagBundlesManager().sync_bundles_to_db()
    bag = BundleDagBag(dag_folder=HERE / "run_alone_dags.py", bundle_path=HERE, bundle_name="dags-folder")
    assert not bag.import_errors
    sync_bag_to_db(bag, "dags-folder", None)


@pytest.fixture
def session(synced):
    from airflow.utils.session import create_session

    with create_session() as session:
        yield session
        session.rollback()  # nothing of these tests stays


@pytest.fixture
def alone(session):
    def make(dag_id, task_id, **more):
        return run_alone(dag_id, task_id, session=session, user_name="ann", **more)

    return make


def run_of(session, made):
    from airflow.models.dagrun import DagRun
    from sqlalchemy import select

    return session.scalars(select(DagRun).where(DagRun.run_id == made.run_id, DagRun.dag_id == made.dag_id)).one()


def states(session, made):
    """Task, with its map index if it has one → state."""
    return {
        each.task_id + (f"[{each.map_index}]" if each.map_index >= 0 else ""): each.state and str(each.state)
        for each in run_of(session, made).get_task_instances(session=session)
    }


def play(session, made, state="success"):
    """What a scheduler finds to do in this run, in order, every task ending with ``state``; and the run's state."""
    from airflow.models.dagbag import DBDagBag

    run = run_of(session, made)
    run.dag = DBDagBag().get_dag_for_run(run, session=session)
    worked = []
    for _ in range(10):
        ready, _ = run.update_state(session=session, execute_callbacks=False)
        session.flush()
        if not ready:
            return worked, str(run.state)
        for each in ready:
            worked.append(each.task_id + (f"[{each.map_index}]" if each.map_index >= 0 else ""))
            each.set_state(state, session=session)
    raise AssertionError(f"{worked}: there is no end")


def test_only_the_chosen_task_works_what_comes_before_counts_as_done_and_all_else_as_skipped(alone, session):
    made = alone("alone_line", "load")

    assert states(session, made) == {"start": "success", "load": None, "publish": "skipped", "aside": "skipped"}
    assert made.marked == {"success": 1, "skipped": 2}
    assert play(session, made) == (["load"], "success")


def test_the_run_says_what_it_is_and_who_asked_for_it(alone, session):
    run = run_of(session, alone("alone_line", "load", conf={"month": 3}))

    assert str(run.run_type) == "manual"
    assert run.triggering_user_name == "ann"
    assert run.conf == {"month": 3}
    assert run.note == "Only `load`, asked for by ann. The other tasks did not run: they are only marked."


def test_a_task_at_the_end_of_the_dag_makes_its_run_fail_and_one_before_others_only_warns(alone, session):
    last, middle = alone("alone_line", "publish"), alone("alone_line", "load")

    assert not [hint for hint in last.hints if "green" in hint]
    assert play(session, last, "failed") == (["publish"], "failed")
    assert [hint for hint in middle.hints if "green" in hint]
    assert play(session, middle, "failed") == (["load"], "success")


def test_a_paused_dag_is_told_of(alone, session):
    from airflow.models.dag import DagModel

    session.get(DagModel, "alone_line").is_paused = True

    assert "is paused" in alone("alone_line", "load").hints[0]


def test_a_task_brings_the_setups_it_needs_and_their_teardowns(alone, session):
    made = alone("alone_setup", "work")

    assert made.with_tasks == ("cluster", "gone")
    assert states(session, made)["first"] == "success"
    assert play(session, made) == (["cluster", "work", "gone"], "success")


def test_a_setup_alone_brings_its_teardown_and_a_teardown_alone_brings_nothing(alone, session):
    assert play(session, alone("alone_setup", "cluster"))[0] == ["cluster", "gone"]
    assert play(session, alone("alone_setup", "gone"))[0] == ["gone"]
    assert play(session, alone("alone_setup", "first"))[0] == ["first"]


@pytest.mark.parametrize(
    "rule", ["all_success", "all_failed", "one_failed", "all_skipped", "all_done", "none_failed", "one_success"]
)
def test_a_task_works_whatever_it_waits_for(alone, session, rule):
    assert play(session, alone("alone_rules", rule)) == ([rule], "success")


def test_all_of_a_mapped_task_or_one_of_it(alone, session):
    assert sorted(play(session, alone("alone_mapped", "literal"))[0]) == ["literal[0]", "literal[1]", "literal[2]"]
    assert play(session, alone("alone_mapped", "literal", map_index=1)) == (["literal[1]"], "success")


def test_a_task_in_a_mapped_group(alone, session):
    assert sorted(play(session, alone("alone_mapped", "monthly.store"))[0]) == ["monthly.store[0]", "monthly.store[1]"]
    assert play(session, alone("alone_mapped", "monthly.store", map_index=1))[0] == ["monthly.store[1]"]


def test_a_member_of_a_scope_takes_the_scopes_lock_and_gives_it_back(alone, session):
    worked, state = play(session, alone("alone_scope", "sales.publish"))

    assert state == "success"
    assert worked[0].startswith("sales.")
    assert "sales.publish" in worked[1:]
    assert "sales.stage" not in worked
    assert len(worked) == 4, "take, keep, publish, give back"


def test_what_a_branch_would_have_chosen_does_not_matter(alone, session):
    assert play(session, alone("alone_branch", "right"))[0] == ["right"]


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("no_such_dag", "load"), 404, "there is no DAG 'no_such_dag'"),
        (("alone_line", "no_such_task"), 404, "has no task 'no_such_task'"),
        (("alone_mapped", "of_month"), 409, "is mapped over what other tasks return"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(alone, session, words, status, says):
    with pytest.raises(NotRunAlone, match=says) as refused:
        alone(*words)
    assert refused.value.status == status


def test_parameters_are_checked_as_in_the_trigger_form_and_an_unknown_map_index_is_refused(alone, session):
    with pytest.raises(NotRunAlone, match="cannot be run: Invalid input for param month") as refused:
        alone("alone_line", "load", conf={"month": 13})
    assert refused.value.status == 400
    with pytest.raises(NotRunAlone, match=r"no task 'literal\[7\]'"):
        alone("alone_mapped", "literal", map_index=7)


def test_dags_that_may_not_be_run_by_hand_or_cannot_be_read_are_refused(alone, session):
    from airflow.models.dag import DagModel

    model = session.get(DagModel, "alone_line")
    model.allowed_run_types = ["scheduled"]
    with pytest.raises(NotRunAlone, match="allows no manual runs"):
        alone("alone_line", "load")
    model.allowed_run_types = None
    model.has_import_errors = True
    with pytest.raises(NotRunAlone, match="has import errors"):
        alone("alone_line", "load")


def test_another_airflow_is_refused_before_anything_is_touched(alone, session, monkeypatch):
    monkeypatch.setattr("airflow_lockprovider.web.run_alone.KNOWS_RUN_MODELS", False)
    with pytest.raises(NotRunAlone, match="does not know how Airflow 3") as refused:
        alone("alone_line", "load")
    assert refused.value.status == 501
