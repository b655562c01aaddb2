"""The Locks page where ``[api] base_url`` has a path, as behind a proxy that serves more than Airflow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from airflow_lockprovider.demo.airflow_client import AirflowClient
from tests.ui.browsing import HELD, WAITING, Page, Visits, opened, row, visitors
from tests.ui.conftest import PARCELS, PATH, PICTURES, Ui


@pytest.fixture(scope="module")
def below(ui: Ui) -> Ui:
    """Airflow as its second api-server shows it; a task waits for a lock which somebody holds."""
    ui.until_it_waits("parcels", PARCELS, "dwh.parcels")
    client = AirflowClient(ui.url_with_path, ui.airflow.user, ui.airflow.password)
    for _ in range(240):
        try:
            client.health()
            return replace(ui, url=ui.url_with_path)
        except OSError:
            ui.supervisor.wait(0.5)
    raise AssertionError(f"no answer at {ui.url_with_path}")


@pytest.fixture(scope="module")
def visits(below: Ui, browser: Any) -> Iterator[Visits]:
    with visitors(below, browser) as visit:
        yield visit


@pytest.fixture
def page(below: Ui, visits: Visits) -> Iterator[Page]:
    """An admin's; whatever it asks our part of the server for has to be there, and below the path."""
    page = visits("admin")
    asked = []
    page.on("response", lambda answer: asked.append((urlsplit(answer.url).path, answer.status)))
    yield page
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / "under-a-path.png")
    ours = [(path, status) for path, status in asked if "lockprovider" in path]
    assert (f"{PATH}/lockprovider/api/now", 200) in ours
    assert [one for one in ours if not one[0].startswith(f"{PATH}/lockprovider/") or one[1] >= 400] == []
    assert page.faults == []


def test_the_login_leads_back_to_the_page_and_the_menu_leads_to_the_list(below: Ui, page: Page) -> None:
    page.goto(f"{below.url}/")
    page.get_by_role("link", name="Locks").click()
    page.wait_for_url(f"{below.url}/plugin/locks")
    frame = page.frame_locator('iframe[src*="/lockprovider/"]')
    held = row(frame, HELD, "dwh.parcels")
    held.wait_for()
    assert "the warehouse's own job" in held.inner_text()
    assert "parcels / load" in row(frame, WAITING, "dwh.parcels").inner_text()
    icon = page.locator('img[src*="lockprovider/static/lock"]').first
    assert icon.evaluate("image => image.complete && image.naturalWidth > 0")
    held.get_by_role("link", name="dwh.parcels").click()
    frame.get_by_role("heading", name="dwh.parcels").wait_for()


def test_the_tab_of_a_task_shows_what_it_waits_for_and_its_link_stays_below_the_path(below: Ui, page: Page) -> None:
    frame = opened(page, below, f"/dags/parcels/runs/{PARCELS}/tasks/load/plugin/locks-task-instance")
    waiting = row(frame, WAITING, "dwh.parcels")
    waiting.wait_for()
    assert "mine" in waiting.get_attribute("class")
    waiting.get_by_role("link", name="parcels / load").click()
    page.wait_for_url(f"{below.url}/dags/parcels/runs/{PARCELS}/tasks/load")
    page.goto(f"{below.url}/dags/parcels/tasks/load/plugin/run-alone")
    alone = page.frame_locator('iframe[src*="/lockprovider/run-alone"]')
    alone.get_by_role("button", name="Run only this task").wait_for()


def test_an_admin_revokes_with_a_reason_and_the_waiting_task_goes_on_below_the_path(below: Ui, page: Page) -> None:
    frame = opened(page, below)
    row(frame, HELD, "dwh.parcels").get_by_role("button", name="Revoke").click()
    frame.get_by_label("Why?").fill("stuck behind the proxy")
    frame.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    frame.get_by_role("dialog").wait_for(state="detached")
    below.airflow.wait_for_runs([("parcels", PARCELS)], timeout=120)
    assert below.airflow.client.task_states("parcels", PARCELS)["load"] == "success"
    revoked = next(event for event in below.locks.history("dwh.parcels") if event.event == "revoked")
    assert (revoked.actor, revoked.reason) == ("admin", "stuck behind the proxy")
