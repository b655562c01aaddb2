"""Alerts of real failing tasks, run by dag.test(): over the simulated EventBridge to a queue, and by SMTP to a sink."""

from __future__ import annotations

import json
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG

from airflow_lockprovider import LeaseHook, Lock, LockedOperator
from airflow_lockprovider.demo.mail import MailSink
from airflow_lockprovider.notifications import EventBridgeNotifier, FailureEmail

from .conftest import REGION, Bus

pytestmark = pytest.mark.usefixtures("airflow_db", "an_empty_dags_folder")


@pytest.fixture
def an_empty_dags_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """dag.test() parses the whole folder first: here it is none of its business."""
    folder = tmp_path / "dags"
    folder.mkdir()
    bundle = {
        "name": "alerts",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(folder)},
    }
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))


def run_dag(dag: DAG) -> Any:
    """Make the DAG known, as a dag-processor does, and run it."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.collection import update_dag_parsing_results_in_db
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from airflow.utils.session import create_session

    DagBundlesManager().sync_bundles_to_db()
    with create_session() as session:
        update_dag_parsing_results_in_db(
            "alerts", None, [LazyDeserializedDAG.from_dag(dag)], {}, None, set(), session=session
        )
    return dag.test()


def html(mail: EmailMessage) -> str:
    body = mail.get_body(("html",))
    assert body is not None
    return str(body.get_content())


def fail() -> None:
    raise ValueError("no such file: <s3://lake/orders.csv> {{ 1 // 0 }}")


def failing_dag(dag_id: str, *, lock: Any = None, dag_alert: Any = None, **task: Any) -> DAG:
    with DAG(dag_id, schedule=None, on_failure_callback=dag_alert) as dag:
        if lock is None:
            PythonOperator(task_id="load", python_callable=fail, **task)
        else:
            LockedOperator(task_id="load", operator=PythonOperator, python_callable=fail, lock=lock, **task)
    return dag


def test_event_of_a_locked_task_says_who_failed_why_and_which_lock_and_token_it_held(locks: LeaseHook, bus: Bus):
    dag = failing_dag("locked_event", lock="dwh.sales", on_failure_callback=EventBridgeNotifier(bus.name))

    run = run_dag(dag)

    assert run.state == "failed"
    (event,) = bus.received()
    assert (event["source"], event["detail-type"]) == ("airflow.lockprovider", "Airflow task failed")
    detail = event["detail"]
    assert detail["title"] == "locked_event.load failed"
    assert (detail["level"], detail["dag_id"], detail["run_id"]) == ("task", "locked_event", run.run_id)
    assert (detail["task_id"], detail["map_index"], detail["try_number"], detail["tries"]) == ("load", None, 1, 1)
    assert (detail["state"], detail["operator"]) == ("failed", "PythonOperator")
    assert detail["exception"]["type"] == "ValueError"
    assert detail["exception"]["message"].startswith("no such file: <s3://lake/orders.csv>")
    assert "/dags/locked_event/runs/" in detail["log_url"]
    released = next(event for event in locks.history("dwh.sales") if event.event == "released")
    assert detail["lock"]["name"] == "dwh.sales"
    assert detail["lock"]["token"] == released.token
    assert detail["lock"]["owner"] == released.owner
    assert detail["lock"]["ending"] == "released"
    assert detail["lock"]["problem"] is None


def test_task_that_waited_in_vain_names_who_holds_the_lock(locks: LeaseHook, bus: Bus):
    holder = locks.try_acquire("dwh.sales", owner="nightly/run/load#1")
    dag = failing_dag(
        "busy_event", lock=Lock("dwh.sales", on_busy="fail"), on_failure_callback=EventBridgeNotifier(bus.name)
    )

    run_dag(dag)

    (event,) = bus.received()
    assert event["detail"]["exception"]["type"] == "airflow_lockprovider.lease.errors.LeaseWaitTimeout"
    lock = event["detail"]["lock"]
    assert (lock["name"], lock["token"]) == ("dwh.sales", None)
    assert lock["held_by"] == [{"owner": "nightly/run/load#1", "token": holder.token}]


def test_revoked_lease_is_told_with_person_and_reason(locks: LeaseHook, bus: Bus, mails: MailSink):
    def taken_away() -> None:
        locks.revoke("dwh.sales", by="ann", reason="stuck since noon")
        raise ValueError("connection closed")

    with DAG("revoked_event", schedule=None) as dag:
        LockedOperator(
            task_id="load",
            operator=PythonOperator,
            python_callable=taken_away,
            lock="dwh.sales",
            on_failure_callback=[EventBridgeNotifier(bus.name), FailureEmail(to="team@example.com")],
        )
    run_dag(dag)

    lock = bus.received()[0]["detail"]["lock"]
    assert (lock["ending"], lock["ended_by"], lock["ended_because"]) == ("revoked", "ann", "stuck since noon")
    assert "revoked by ann: stuck since noon" in html(mails.messages()[0])


def test_alert_goes_out_while_the_lock_database_is_down(monkeypatch: pytest.MonkeyPatch, bus: Bus):
    monkeypatch.setenv("AIRFLOW_CONN_DWH_DEFAULT", "postgresql://u:hunter2@127.0.0.1:1/db")
    dag = failing_dag("dark_event", lock="dwh.sales", on_failure_callback=EventBridgeNotifier(bus.name))

    run_dag(dag)

    (event,) = bus.received()
    assert event["detail"]["exception"]["type"] == "airflow_lockprovider.lease.errors.StoreUnavailable"
    assert event["detail"]["lock"]["name"] == "dwh.sales"
    assert "does not serve" in event["detail"]["lock"]["problem"]
    assert "hunter2" not in json.dumps(event)


def test_mail_of_a_locked_task_can_be_read_by_people_and_runs_nothing(locks: LeaseHook, mails: MailSink):
    dag = failing_dag("locked_mail", lock="dwh.sales", on_failure_callback=FailureEmail(to="team@example.com"))

    run_dag(dag)

    (mail,) = mails.messages()
    assert mail["Subject"] == "[Airflow] locked_mail.load failed"
    assert mail["From"] == "airflow@example.com"
    assert mail["X-Envelope-To"] == "team@example.com"
    body = html(mail)
    assert "no such file: &lt;s3://lake/orders.csv&gt; {{ 1 // 0 }}" in body
    assert "<s3:" not in body
    released = next(event for event in locks.history("dwh.sales") if event.event == "released")
    assert "dwh.sales" in body
    assert str(released.token) in body
    assert "/dags/locked_mail/runs/" in body


def test_one_notifier_in_default_args_serves_every_task_with_its_own_facts(bus: Bus):
    notifier = EventBridgeNotifier(bus.name, extra={"team": "sales", "who": "{{ ti.task_id }}"})
    with DAG("two_events", schedule=None, default_args={"on_failure_callback": notifier}) as dag:
        for name in ("first", "second"):
            PythonOperator(task_id=name, python_callable=fail)

    run_dag(dag)

    assert sorted((e["detail"]["task_id"], e["detail"]["extra"]["who"]) for e in bus.received()) == [
        ("first", "first"),
        ("second", "second"),
    ]


def test_failing_dag_alerts_without_an_exception_at_hand(bus: Bus, mails: MailSink):
    alerts = [EventBridgeNotifier(bus.name), FailureEmail(to=["a@example.com", "b@example.com"])]

    run_dag(failing_dag("dag_event", dag_alert=alerts))

    detail = bus.received()[0]["detail"]
    assert (detail["level"], detail["dag_id"], detail["reason"]) == ("dag", "dag_event", "task_failure")
    assert detail["title"] == "DAG dag_event failed: task_failure"
    assert detail["lock"] is None
    assert mails.messages()[0]["Subject"] == "[Airflow] DAG dag_event failed: task_failure"
    assert mails.messages()[0]["X-Envelope-To"] == "a@example.com, b@example.com"


def test_alert_that_fails_changes_no_state_holds_up_no_other_alert_and_is_logged(
    locks: LeaseHook, mails: MailSink, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv(
        "AIRFLOW_CONN_AWS_DEFAULT", '{"conn_type": "aws", "extra": {"endpoint_url": "http://127.0.0.1:1"}}'
    )
    broken = EventBridgeNotifier("data-alerts", region_name=REGION)
    dag = failing_dag("broken_alert", retries=0, on_failure_callback=[broken, FailureEmail(to="team@example.com")])

    run = run_dag(dag)

    assert run.state == "failed"
    assert [ti.state for ti in run.get_task_instances()] == ["failed"]
    assert [mail["Subject"] for mail in mails.messages()] == ["[Airflow] broken_alert.load failed"]
    assert "Failed to run task callback" in capsys.readouterr().out


def test_retry_callback_says_that_there_will_be_another_try(bus: Bus, monkeypatch: pytest.MonkeyPatch):
    notifier = EventBridgeNotifier(bus.name)
    dag = failing_dag("retried_event", retries=1, retry_delay=timedelta(0), on_retry_callback=notifier)

    run_dag(dag)

    (event,) = bus.received()
    assert event["detail"]["title"] == "retried_event.load failed, will be retried"
    assert (event["detail"]["try_number"], event["detail"]["tries"]) == (1, 2)


def callback_requests(dag: DAG, run: Any) -> tuple[Any, Any]:
    """What a scheduler sends to the dag-processor: for a task whose worker has died, and for the failed run."""
    from airflow.callbacks.callback_requests import DagCallbackRequest, DagRunContext, TaskCallbackRequest
    from airflow.sdk.api.datamodels._generated import TaskInstance, TIRunContext

    (row,) = run.get_task_instances()
    ti = TaskInstance.model_validate(row, from_attributes=True)
    from_server = TIRunContext.model_construct(dag_run=run.dag_run_data, max_tries=row.max_tries)
    common = {"filepath": "a.py", "bundle_name": "alerts", "bundle_version": None}
    return (
        TaskCallbackRequest.model_construct(
            ti=ti, context_from_server=from_server, task_callback_type=None, msg="heartbeat timeout", **common
        ),
        DagCallbackRequest.model_construct(
            dag_id=dag.dag_id,
            run_id=run.run_id,
            context_from_server=DagRunContext.model_construct(dag_run=run.dag_run_data, last_ti=ti),
            is_failure_callback=True,
            msg="task_failure",
            **common,
        ),
    )


def test_dag_processor_alerts_for_a_dead_worker_with_the_lock_it_left_behind(locks: LeaseHook, bus: Bus):
    import structlog
    from airflow.dag_processing.processor import _execute_dag_callbacks, _execute_task_callbacks

    notifier = EventBridgeNotifier(bus.name)
    dag = failing_dag("dead_worker", lock="dwh.{{ dag.dag_id }}", on_failure_callback=notifier, dag_alert=notifier)
    run = run_dag(dag)
    assert len(bus.received()) == 2
    on_task, on_dag = callback_requests(dag, run)
    owner_id = str(on_task.ti.id)
    left_behind = locks.try_acquire("dwh.dead_worker", owner_id, owner="dead_worker/run/load#1")
    # In the dag-processor the file is parsed afresh: nothing is rendered, and no lease was ever seen.
    fresh = failing_dag("dead_worker", lock="dwh.{{ dag.dag_id }}", on_failure_callback=notifier, dag_alert=notifier)
    bag: Any = SimpleNamespace(dags={"dead_worker": fresh})

    _execute_task_callbacks(bag, on_task, structlog.get_logger())
    _execute_dag_callbacks(bag, on_dag, structlog.get_logger())

    of_task, of_dag = sorted(
        (event["detail"] for event in bus.received()), key=lambda detail: detail["title"], reverse=True
    )
    assert of_task["title"] == "dead_worker.load failed"
    assert of_task["exception"] is None
    assert (of_task["lock"]["name"], of_task["lock"]["token"]) == ("dwh.dead_worker", left_behind.token)
    assert of_task["lock"]["ending"] == "held"
    assert of_dag["title"] == "DAG dead_worker failed: task_failure"
    assert of_dag["task_id"] == "load"
    assert of_dag["log_url"].endswith(f"/dags/dead_worker/runs/{quote(run.run_id)}")


def test_sample_of_the_documentation_runs_as_it_is(locks: LeaseHook, bus: Bus, mails: MailSink, tmp_path: Path):
    from airflow.dag_processing.dagbag import DagBag

    text = (Path(__file__).parents[3] / "docs" / "alerts.md").read_text()
    sample = tmp_path / "sample.py"
    sample.write_text(text.split("```python\n")[1].split("```")[0])
    bag = DagBag(sample)
    assert bag.import_errors == {}

    run_dag(bag.dags["nightly_sales"])

    documented = json.loads(text.split("```json\n")[1].split("```")[0])
    (event,) = bus.received()
    assert event["detail"].keys() == documented.keys()
    assert event["detail"]["lock"].keys() == documented["lock"].keys()
    assert event["detail"]["exception"] == documented["exception"]
    assert [mail["Subject"] for mail in mails.messages()] == ["[Airflow] nightly_sales.load failed"]
