"""The tab "Run only this": who may, and what the answers say."""

from __future__ import annotations

import pytest
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from fastapi.testclient import TestClient

from tests.conftest import REPOSITORY
from tests.integration.test_run_alone import synced

__all__ = ["synced"]
ACT = {"X-Lockprovider": "1"}
WISH = {"dag_id": "alone_line", "task_id": "load"}


@pytest.fixture(scope="module")
def app(synced):
    from airflow.api_fastapi.app import create_auth_manager, init_auth_manager

    from airflow_lockprovider.web.app import build_app

    create_auth_manager()
    init_auth_manager()
    return build_app()


@pytest.fixture
def asked_by(app):
    """A client whose user has this role; None: nobody is logged in."""
    from airflow.api_fastapi.core_api.security import get_user

    def client(role):
        app.dependency_overrides.clear()
        if role:
            app.dependency_overrides[get_user] = lambda: SimpleAuthManagerUser(username=role, role=role)
        return TestClient(app, headers=ACT)

    yield client
    app.dependency_overrides.clear()


@pytest.fixture
def made():
    """The runs that a test makes, removed after it."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    yield
    with create_session() as session:
        session.execute(delete(DagRun).where(DagRun.dag_id == "alone_line"))


@pytest.mark.parametrize(
    ("role", "sees", "runs"),
    [(None, 401, 401), ("viewer", 200, 403), ("user", 200, 201), ("op", 200, 201), ("admin", 200, 201)],
)
def test_who_may_trigger_the_dag_may_run_a_task_alone(asked_by, made, role, sees, runs):
    client = asked_by(role)

    assert client.get("/run-alone").status_code == sees
    assert client.get("/api/run-alone", params=WISH).status_code == sees
    assert client.post("/api/run-alone", json=WISH).status_code == runs


def test_the_tab_hears_what_would_run_and_whether_this_person_may(asked_by):
    seen = asked_by("viewer").get("/api/run-alone", params=WISH).json()

    assert seen == {
        **WISH,
        "with_tasks": [],
        "mapped": False,
        "paused": seen["paused"],
        "not_last": True,
        "others": 3,
        "params": {"month": 1},
        "may_run": False,
    }
    assert asked_by("admin").get("/api/run-alone", params=WISH).json()["may_run"] is True
    mapped = {"dag_id": "alone_mapped", "task_id": "monthly.store"}
    assert asked_by("admin").get("/api/run-alone", params=mapped).json()["mapped"] is True


def test_the_answer_leads_to_the_task_in_the_new_run_and_the_run_is_there(asked_by, made):
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select

    answer = asked_by("admin").post("/api/run-alone", json={**WISH, "conf": {"month": 2}, "logical_date": None}).json()

    quoted = answer["run_id"].replace(":", "%3A").replace("+", "%2B")
    assert answer["url"] == f"/dags/alone_line/runs/{quoted}/tasks/load"
    assert answer["marked"] == {"success": 1, "skipped": 2}
    with create_session() as session:
        run = session.scalars(select(DagRun).where(DagRun.run_id == answer["run_id"])).one()
        assert (run.conf, run.logical_date, run.triggering_user_name) == ({"month": 2}, None, "admin")
        assert run.note.startswith("Only `load`, asked for by admin.")


def test_airflows_audit_log_has_the_person_the_dag_and_the_task_of_what_was_done_and_nothing_of_what_was_refused(
    asked_by, made
):
    from airflow.models.log import Log
    from airflow.utils.session import create_session
    from sqlalchemy import delete, select

    for role in ("viewer", "op"):
        asked_by(role).post("/api/run-alone", json=WISH)

    with create_session() as session:
        ours = Log.event == "locks.run_alone"
        seen = [(entry.owner, entry.dag_id, entry.task_id) for entry in session.scalars(select(Log).where(ours))]
        session.execute(delete(Log).where(ours))
    assert ("op", "alone_line", "load") in seen
    assert "viewer" not in {owner for owner, _, _ in seen}


@pytest.mark.parametrize("headers", [{"X-Lockprovider": ""}, {"Sec-Fetch-Site": "cross-site"}])
def test_what_a_page_from_elsewhere_makes_the_browser_send_is_refused(asked_by, headers):
    assert asked_by("admin").post("/api/run-alone", json=WISH, headers=headers).status_code == 403


@pytest.mark.parametrize(
    ("wish", "status", "says"),
    [
        ({"task_id": "nothing"}, 404, "has no task 'nothing'"),
        ({"conf": {"month": 13}}, 400, "cannot be run"),
        ({"dag_id": "alone_mapped", "task_id": "of_month"}, 409, "clear it in an earlier run"),
        ({"unknown": 1}, 422, ""),
        ({"map_index": -1}, 422, ""),
    ],
)
def test_refusals_come_as_words(asked_by, wish, status, says):
    answer = asked_by("admin").post("/api/run-alone", json={**WISH, **wish})
    assert answer.status_code == status
    assert says in str(answer.json()["detail"])


def test_the_sample_of_the_docs_is_understood():
    import re

    from airflow_lockprovider.web.run_alone_routes import Wish

    text = (REPOSITORY / "docs" / "single-step.md").read_text(encoding="utf-8")
    (body,) = re.findall(r"-d '(\{.*?\})'\n", text)
    wish = Wish.model_validate_json(body)
    assert wish.task_id == "load"
    assert wish.logical_date is not None
