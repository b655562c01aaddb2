"""Who gets in where: every route, every role; and what a page from elsewhere can make a browser do."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.routing import APIRoute

from airflow_lockprovider.lease import LeaseEngine
from airflow_lockprovider.web.app import build_app
from tests.integration.web.conftest import ROLES, Site, make_site

ACT = {"X-Lockprovider": "1"}
REASON = {"lock": "dwh.sales", "reason": "stuck since midnight"}
# Route → what it is sent, and what each of ROLES is answered.
SEEN = (401, 200, 200, 200, 200)
ACTED = (401, 403, 403, 200, 200)
TABLE: dict[tuple[str, str], tuple[dict[str, Any], tuple[int, ...]]] = {
    ("GET", "/"): ({}, SEEN),
    ("GET", "/static/{name}"): ({"path": "/static/common.js"}, SEEN),
    ("GET", "/openapi.json"): ({}, SEEN),
    ("GET", "/api/now"): ({}, SEEN),
    ("GET", "/api/lock"): ({"params": {"name": "dwh.sales"}}, SEEN),
    ("GET", "/api/history"): ({}, SEEN),
    ("GET", "/api/stats"): ({}, SEEN),
    ("POST", "/api/pause"): ({"json": REASON}, ACTED),
    ("POST", "/api/resume"): ({"json": REASON}, ACTED),
    ("POST", "/api/revoke"): ({"json": REASON}, ACTED),
    # Airflow's right to trigger the DAG decides on the rest: tests/integration/test_run_alone_routes.py.
    ("GET", "/run-alone"): ({}, SEEN),
    ("GET", "/api/run-alone"): ({"params": {"dag_id": "none", "task_id": "none"}}, (401, 404, 404, 404, 404)),
    ("POST", "/api/run-alone"): ({"json": {"dag_id": "none", "task_id": "none"}}, (401, 403, 404, 404, 404)),
}


def _call(site: Site, role: str | None, method: str, route: str, given: dict[str, Any], **headers: str) -> Any:
    rest = {name: value for name, value in given.items() if name != "path"}
    return site.visitor(role, **headers).request(method, "/lockprovider" + given.get("path", route), **rest)


def _ready(locks: LeaseEngine, route: str) -> dict[str, Any]:
    lease = locks.try_acquire("dwh.sales", "one")
    if route == "/api/resume":
        locks.pause("dwh.sales", "ann", "before")
    return {"token": lease.token} if route == "/api/revoke" else {}


def test_the_table_knows_every_route() -> None:
    routes = {
        (method, route.path) for route in build_app().routes if isinstance(route, APIRoute) for method in route.methods
    }
    assert routes == set(TABLE)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("method", "route"), TABLE)
def test_every_route_answers_each_role_as_the_table_says(
    site: Site, locks: LeaseEngine, method: str, route: str, role: str | None
) -> None:
    given, answers = TABLE[method, route]
    more = _ready(locks, route)
    given = {**given, "json": {**given["json"], **more}} if "json" in given else given
    answer = _call(site, role, method, route, given, **ACT)
    assert answer.status_code == answers[ROLES.index(role)], answer.text
    if answer.status_code >= 400:
        assert answer.json()["detail"]


@pytest.mark.parametrize("role", [None, "viewer", "user"])
def test_a_refused_act_changes_nothing(site: Site, locks: LeaseEngine, role: str | None) -> None:
    lease = locks.try_acquire("dwh.sales", "one")
    for act in ("revoke", "pause"):
        body = {**REASON, "token": lease.token} if act == "revoke" else REASON
        assert site.visitor(role, **ACT).post(f"/lockprovider/api/{act}", json=body).status_code in (401, 403)
    assert [one.token for one in locks.leases()] == [lease.token]
    assert {event.event for event in locks.history()} == {"granted"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"X-Lockprovider": "0"}, 403),
        ({**ACT, "Sec-Fetch-Site": "cross-site"}, 403),
        ({**ACT, "Sec-Fetch-Site": "same-site"}, 403),
        ({**ACT, "Sec-Fetch-Site": "none"}, 403),
        ({**ACT, "Sec-Fetch-Site": "same-origin"}, 200),
        (ACT, 200),
    ],
)
def test_an_act_that_another_site_made_the_browser_send_is_refused(
    site: Site, locks: LeaseEngine, headers: dict[str, str], status: int
) -> None:
    locks.release(locks.try_acquire("dwh.sales", "one"))
    answer = site.visitor("admin", **headers).post("/lockprovider/api/pause", json=REASON)
    assert answer.status_code == status
    assert bool([event for event in locks.history() if event.event == "paused"]) == (status == 200)


def test_a_form_of_another_site_cannot_act_even_without_the_browser_saying_so(site: Site, locks: LeaseEngine) -> None:
    locks.release(locks.try_acquire("dwh.sales", "one"))
    form = site.visitor("admin").post("/lockprovider/api/pause", data=REASON)
    plain = site.visitor("admin", **{"Content-Type": "text/plain"}).post("/lockprovider/api/pause", content="{}")
    assert (form.status_code, plain.status_code) == (403, 403)


@pytest.mark.parametrize("path", ["/", "/static/base.css", "/api/now", "/api/pause", "/nothing", "/openapi.json"])
@pytest.mark.parametrize("role", [None, "admin"])
def test_every_answer_says_what_the_browser_may_do_with_it(
    site: Site, locks: LeaseEngine, path: str, role: str | None
) -> None:
    headers = site.visitor(role).get(f"/lockprovider{path}").headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'self'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


def test_a_stranger_who_opens_the_page_is_led_to_the_login_and_back(site: Site) -> None:
    answer = site.visitor(None, Accept="text/html").get("/lockprovider/?dag_id=nightly")
    assert answer.status_code == 302
    assert answer.headers["location"].endswith("/auth/login?next=%2Flockprovider%2F%3Fdag_id%3Dnightly") or (
        "/auth/login?next=/lockprovider/?dag_id=nightly" in answer.headers["location"]
    )


def test_a_bad_token_is_refused(site: Site) -> None:
    client = site.visitor(None)
    client.cookies.set("_token", site.tokens["admin"][:-3] + "abc")
    assert client.get("/lockprovider/api/now").status_code == 403


def test_the_page_and_its_api_work_under_a_prefix(locks: LeaseEngine) -> None:
    site = make_site("/air")
    client = site.visitor("viewer", Accept="text/html")
    page = client.get("/air/lockprovider/")
    assert page.status_code == 200
    addresses = [part.split('"', 1)[0] for mark in ('href="', 'src="') for part in page.text.split(mark)[1:]]
    assert addresses
    for address in addresses:
        assert not address.startswith("/"), "an absolute address would leave the prefix"
        assert client.get(f"/air/lockprovider/{address}").status_code == 200
    assert client.get("/air/lockprovider/openapi.json").json()["servers"] == [{"url": "/air/lockprovider"}]
    login = site.visitor(None, Accept="text/html").get("/air/lockprovider/").headers["location"]
    assert "air" in login.split("next=")[1]


def test_no_file_outside_the_folder_is_served(site: Site) -> None:
    client = site.visitor("admin")
    for path in ("..%2Fapp.py", "%2e%2e/app.py", "....//app.py", "%2Fetc%2Fpasswd", "app.py", ""):
        assert client.get(f"/lockprovider/static/{path}").status_code == 404


def test_the_api_is_described_with_all_its_routes(site: Site) -> None:
    described = site.visitor("viewer").get("/lockprovider/openapi.json").json()
    assert {"/api/now", "/api/lock", "/api/history", "/api/stats", "/api/revoke", "/api/pause", "/api/resume"} <= set(
        described["paths"]
    )
    assert all(
        way.get("description") and way.get("summary") for path in described["paths"].values() for way in path.values()
    )
