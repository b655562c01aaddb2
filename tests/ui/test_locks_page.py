"""The Locks page in a real browser, inside a real Airflow."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.ui.browsing import HELD, WAITING, Page, Visits, opened, row, visitors
from tests.ui.busy_night import backdate, busy_night
from tests.ui.conftest import PICTURES, Ui

RUN = "nightly_2026-11-21"


@pytest.fixture(scope="module")
def visits(ui: Ui, browser: Any) -> Iterator[Visits]:
    with visitors(ui, browser) as visit:
        yield visit


@pytest.fixture(autouse=True)
def picture(request: pytest.FixtureRequest, visits: Visits) -> Iterator[Callable[[Page, str], None]]:
    """Keeps pictures; and no page may have run into an error of its own."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    taken: list[Page] = []

    def take(page: Page, name: str) -> None:
        taken.append(page)
        page.wait_for_timeout(300)  # fonts and the theme's transition
        page.screenshot(path=PICTURES / f"{name}.png")

    yield take
    for page in taken:
        assert page.faults == []


@pytest.fixture(scope="module")
def night(ui: Ui) -> Ui:
    """Somebody holds dwh.sales, and a task of a real run waits for it in the triggerer."""
    context = {"dag_id": "backfill_sales", "run_id": "backfill__2026-11-01", "task_id": "load", "map_index": -1}
    for lock, minutes, expected in (("dwh.sales", 41, 3600), ("dwh.orders", 130, 1800), ("dwh.stock", 3, 3600)):
        held = {**context, "expected_hold": expected, "dag_id": "backfill_" + lock.removeprefix("dwh.")}
        label = "{dag_id}/{run_id}/{task_id}#1".format_map(held)
        assert ui.locks.try_acquire(lock, owner_id=f"{lock} held", owner=label, context=held, ttl=3600)
        backdate(ui.dsn, lock, minutes)
    ui.airflow.client.trigger("nightly_sales", run_id=RUN)
    ui.until_it_waits("nightly_sales", RUN, "dwh.sales")
    return ui


def test_a_stranger_gets_a_login_and_then_the_page(ui: Ui, browser: Any, picture: Any) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{ui.url}/lockprovider/?dag_id=nightly_sales")
    page.wait_for_selector("input[name=password]")
    assert "/auth/login" in page.url
    assert "nightly" not in page.content().replace("next=", "") or page.locator("table").count() == 0
    page.fill("input[name=username]", "viewer")
    page.fill("input[name=password]", ui.passwords["viewer"])
    page.click("button[type=submit]")
    page.wait_for_url("**/lockprovider/?dag_id=nightly_sales")
    context.close()


def test_the_menu_leads_to_who_holds_what_and_who_waits_and_why(night: Ui, visits: Visits, picture: Any) -> None:
    page = visits("admin")
    page.goto(night.url)
    page.get_by_role("link", name="Locks").click()
    frame = page.frame_locator('iframe[src*="/lockprovider/"]')
    held = row(frame, HELD, "dwh.sales")
    held.wait_for()
    assert "backfill_sales / load" in held.inner_text()
    waiting = row(frame, WAITING, "dwh.sales").inner_text()
    assert "nightly_sales / load" in waiting
    assert "held by backfill_sales/backfill__2026-11-01/load#1" in waiting
    assert "held too long" in row(frame, HELD, "dwh.orders").inner_text()
    picture(page, "menu")


def test_names_that_look_like_markup_are_text(night: Ui, visits: Visits, picture: Any) -> None:
    page = visits("admin")
    owner = '"><img src=x onerror=alert(1)>'
    lease = night.locks.try_acquire("dwh.<script>alert(1)</script>", owner_id="hostile", owner=owner, ttl=3600)
    assert lease
    frame = opened(page, night)
    hostile = row(frame, HELD, "<script>alert(1)</script>")
    hostile.wait_for()
    assert '"><img src=x onerror=alert(1)>' in hostile.inner_text()
    assert frame.locator("table img, table script").count() == 0
    hostile.get_by_role("link").first.click()
    frame.get_by_role("heading", name="dwh.<script>alert(1)</script>").wait_for()
    picture(page, "hostile-name")
    night.locks.release(lease)


def test_a_busy_night_is_read_at_a_look(night: Ui, visits: Visits, picture: Any) -> None:
    page = visits("admin")
    with busy_night(night):
        frame = opened(page, night)
        row(frame, HELD, "dwh.customers").wait_for()
        assert "close to expiry" in row(frame, HELD, "dwh.customers").inner_text()
        assert "paused" in row(frame, HELD, "dwh.fx_rates").inner_text()
        assert row(frame, HELD, "dwh.reports").count() == 2
        assert "1/3" in row(frame, HELD, "dwh.reports").first.inner_text()
        places = row(frame, WAITING, "dwh.sales").all_inner_texts()
        assert [text.split()[1] for text in places] == ["1", "2", "3"]
        picture(page, "locks-light")
        page.evaluate("document.documentElement.classList.replace('light', 'dark')")
        frame.locator("html.dark").wait_for(state="attached")
        picture(page, "locks-dark")
        page.evaluate("document.documentElement.classList.replace('dark', 'light')")


def test_search_and_marks_leave_only_what_is_looked_for(night: Ui, visits: Visits, picture: Any) -> None:
    frame = opened(visits("admin"), night)
    row(frame, HELD, "dwh.stock").wait_for()
    frame.get_by_role("searchbox").fill("sales")
    row(frame, HELD, "dwh.stock").wait_for(state="detached")
    assert row(frame, HELD, "dwh.sales").count() == 1
    frame.get_by_role("searchbox").fill("")
    row(frame, HELD, "dwh.stock").wait_for()  # the search waits for the end of typing
    frame.get_by_role("button", name=re.compile("held too long")).click()
    row(frame, HELD, "dwh.sales").wait_for(state="detached")
    assert row(frame, HELD, "dwh.orders").count() == 1
    picture(visits("admin"), "filtered")


def test_it_follows_airflows_dark_mode(night: Ui, visits: Visits, picture: Any) -> None:
    page = visits("op")
    page.evaluate("localStorage.setItem('theme', 'dark')")
    frame = opened(page, night)
    row(frame, HELD, "dwh.sales").wait_for()
    dark = frame.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
    assert dark == "rgb(0, 0, 0)"
    picture(page, "dark")
    page.evaluate("document.documentElement.classList.replace('dark', 'light')")
    frame.locator("html:not(.dark)").wait_for(state="attached")
    page.evaluate("localStorage.setItem('theme', 'light')")


def test_rows_stay_the_same_elements_through_a_refresh(night: Ui, visits: Visits, picture: Any) -> None:
    frame = opened(visits("op"), night)
    held = row(frame, HELD, "dwh.sales")
    held.evaluate("row => { row.marked = true; row.querySelector('button').focus(); }")
    before = held.locator("td").nth(3).inner_text()
    held.page.wait_for_timeout(4500)  # at least one answer
    assert held.evaluate("row => row.marked && row.contains(document.activeElement)")
    assert held.locator("td").nth(3).inner_text() != before, "ages grow"


def test_one_lock_shows_who_held_it_when(night: Ui, visits: Visits, picture: Any) -> None:
    page = visits("admin")
    frame = opened(page, night)
    row(frame, HELD, "dwh.sales").get_by_role("link", name="dwh.sales").click()
    bars = frame.locator("svg .span")
    bars.first.wait_for()
    assert bars.count() == 11
    assert frame.locator("svg .span.running").count() == 1
    frame.locator("svg .span.revoked").focus()
    told = frame.locator(".told").inner_text()
    assert "backfill_sales" in told
    assert "revoked by ann: the source was wrong" in told
    picture(page, "one-lock")


def test_statistics_and_history_have_figures(night: Ui, visits: Visits, picture: Any) -> None:
    page = visits("admin")
    frame = opened(page, night)
    frame.get_by_role("link", name="Statistics").click()
    sales = row(frame, "Hold and wait times by lock", "dwh.sales")
    sales.wait_for()
    assert "2h 5m" in sales.inner_text(), "the longest wait"
    picture(page, "statistics")
    frame.get_by_role("link", name="History").click()
    assert "ann" in row(frame, "What happened, newest first", "revoked").filter(has_text="dwh.sales").inner_text()


def test_the_tab_of_a_deferred_task_says_what_it_waits_for(night: Ui, visits: Visits, picture: Any) -> None:
    page = visits("viewer")
    frame = opened(page, night, f"/dags/nightly_sales/runs/{RUN}/tasks/load/plugin/locks-task-instance")
    waiting = row(frame, WAITING, "dwh.sales")
    waiting.wait_for()
    assert "mine" in waiting.get_attribute("class")
    assert "backfill_sales / load" in row(frame, HELD, "dwh.sales").inner_text()
    assert row(frame, HELD, "dwh.stock").count() == 0
    picture(page, "task-tab")
    for path in ("", "/tasks/load", f"/runs/{RUN}"):
        kind = {"": "dag", "/tasks/load": "task"}.get(path, "dag-run")
        row(opened(page, night, f"/dags/nightly_sales{path}/plugin/locks-{kind}"), WAITING, "dwh.sales").wait_for()


def test_a_link_to_an_owner_leaves_the_frame(night: Ui, visits: Visits, picture: Any) -> None:
    page = visits("viewer")
    frame = opened(page, night)
    row(frame, WAITING, "dwh.sales").get_by_role("link", name="nightly_sales / load").click()
    page.wait_for_url(f"**/dags/nightly_sales/runs/{RUN}/tasks/load")


def test_a_viewer_sees_no_buttons_and_is_refused_without_them(night: Ui, visits: Visits, picture: Any) -> None:
    page = visits("viewer")
    frame = opened(page, night)
    row(frame, HELD, "dwh.sales").wait_for()
    assert frame.get_by_role("button", name=re.compile("Revoke|Pause|Resume")).count() == 0
    assert "right to edit connection dwh_default" in frame.locator("#foot").inner_text()
    (lease,) = night.locks.leases("dwh.sales")
    status = page.evaluate(
        """async (token) => (await fetch('/lockprovider/api/revoke', {
             method: 'POST', headers: {'Content-Type': 'application/json', 'X-Lockprovider': '1'},
             body: JSON.stringify({lock: 'dwh.sales', token, reason: 'because'})})).status""",
        lease.token,
    )
    assert status == 403
    assert night.locks.leases("dwh.sales") == [lease] or night.locks.leases("dwh.sales")[0].token == lease.token
    picture(page, "viewer")


def test_pause_and_resume_by_keyboard_alone(night: Ui, visits: Visits, picture: Any) -> None:
    page = visits("op")
    frame = opened(page, night)
    row(frame, HELD, "dwh.stock").get_by_role("link", name="dwh.stock").press("Enter")
    button = frame.get_by_role("button", name="Pause dwh.stock")
    button.wait_for()
    button.focus()
    page.keyboard.press("Enter")
    frame.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    frame.get_by_role("dialog").wait_for(state="detached")
    assert button.evaluate("button => button === document.activeElement"), "the focus goes back"
    page.keyboard.press("Enter")
    page.keyboard.type("the table moves")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    frame.get_by_text("paused by op: the table moves").wait_for()
    frame.get_by_role("button", name="Resume dwh.stock").press("Enter")
    page.keyboard.type("it has moved")
    frame.get_by_role("dialog").get_by_role("button", name="Resume").press("Enter")
    frame.get_by_role("button", name="Pause dwh.stock").wait_for()
    last = night.locks.history("dwh.stock", 2)
    assert [(event.event, event.actor, event.reason) for event in last] == [
        ("resumed", "op", "it has moved"),
        ("paused", "op", "the table moves"),
    ]


def test_an_admin_revokes_with_a_reason_and_the_waiting_task_goes_on(night: Ui, visits: Visits, picture: Any) -> None:
    page = visits("admin")
    frame = opened(page, night)
    row(frame, HELD, "dwh.sales").get_by_role("button", name="Revoke").click()
    dialog = frame.get_by_role("dialog")
    dialog.get_by_role("button", name="Revoke").click()
    assert dialog.is_visible(), "not without a reason"
    frame.get_by_label("Why?").fill("stuck since midnight, INC-4711")
    picture(page, "revoke")
    dialog.get_by_role("button", name="Revoke").click()
    dialog.wait_for(state="detached")
    night.airflow.wait_for_runs([("nightly_sales", RUN)], timeout=120)
    assert night.airflow.client.task_states("nightly_sales", RUN)["load"] == "success"
    revoked = next(event for event in night.locks.history("dwh.sales") if event.event == "revoked")
    assert (revoked.actor, revoked.reason) == ("admin", "stuck since midnight, INC-4711")
    frame.get_by_role("link", name="History").click()
    assert "admin: stuck since midnight" in row(frame, "What happened, newest first", "INC-4711").inner_text()
    audit = night.airflow.client.get("/api/v2/eventLogs", event="locks.revoke")["event_logs"]
    assert [entry["owner"] for entry in audit] == ["admin", "viewer"] or "admin" in {entry["owner"] for entry in audit}


def test_one_task_is_run_alone_from_its_tab(night: Ui, visits: Visits, picture: Any) -> None:
    page = visits("admin")
    page.goto(f"{night.url}/dags/nightly_sales/tasks/load/plugin/run-alone")
    frame = page.frame_locator('iframe[src*="/lockprovider/run-alone"]')
    frame.get_by_role("button", name="Run only this task").wait_for()
    picture(page, "run-alone")
    frame.get_by_role("button", name="Run only this task").click()
    frame.get_by_text("The run is made").wait_for()
    runs = {run["dag_run_id"] for run in night.airflow.client.runs("nightly_sales")} - {RUN}
    assert len(runs) == 1
    (run,) = runs
    night.airflow.wait_for_runs([("nightly_sales", run)], timeout=120)
    states = night.airflow.client.task_states("nightly_sales", run)
    assert states["load"] == "success"
    assert {event.event for event in night.locks.history("dwh.sales", 3)} >= {"granted", "released"}


def test_when_the_warehouse_is_down_the_page_says_why_and_comes_back_by_itself(
    night: Ui, visits: Visits, picture: Any
) -> None:
    page = visits("admin")
    page.clock.install()
    frame = opened(page, night)
    trouble = frame.get_by_role("alert")
    stop = "**/lockprovider/api/now*"
    page.route(
        stop,
        lambda route: route.fulfill(
            status=503,
            content_type="application/json",
            body='{"detail": "the database with the locks does not serve: connection refused", "kind": "down"}',
        ),
    )
    trouble.get_by_text("The locks cannot be read.").wait_for()
    assert "connection refused" in trouble.inner_text()
    picture(page, "warehouse-down")
    page.unroute(stop)
    page.clock.fast_forward(10_000)  # in trouble it asks less often
    trouble.get_by_text("The locks cannot be read.").wait_for(state="detached")
