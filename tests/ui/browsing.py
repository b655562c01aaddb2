"""What a person does in the browser: log in, open the page within Airflow, look for a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.ui.conftest import Ui

Page = Any
Visits = Callable[[str], Page]
"""Name of a person → their page."""

HELD = "Who holds which lock"
WAITING = "Who waits for which lock, in order"


@contextmanager
def visitors(ui: Ui, browser: Any) -> Iterator[Visits]:
    """A page for each person: logged in once, kept to the end. ``page.faults``: errors of its scripts, dialogs."""
    people: dict[str, Page] = {}

    def visit(name: str) -> Page:
        if name not in people:
            context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
            page = context.new_page()
            page.set_default_timeout(20_000)
            page.faults = []  # type: ignore[attr-defined]
            page.on("pageerror", lambda error: page.faults.append(str(error)))
            page.on("dialog", lambda dialog: page.faults.append(f"a dialog: {dialog.message}"))
            log_in(page, ui, name)
            people[name] = page
        return people[name]

    yield visit
    for page in people.values():
        page.context.close()


def log_in(page: Page, ui: Ui, name: str) -> None:
    """As a stranger who asks for the page."""
    page.goto(f"{ui.url}/lockprovider/")
    page.fill("input[name=username]", name)
    page.fill("input[name=password]", ui.passwords[name])
    page.click("button[type=submit]")
    page.wait_for_url(f"{ui.url}/lockprovider/")


def opened(page: Page, ui: Ui, path: str = "/plugin/locks") -> Page:
    """The page's frame within Airflow."""
    page.goto(ui.url + path)
    frame = page.frame_locator('iframe[src*="/lockprovider/"]')
    frame.locator("#foot", has_text="Locks behind connection").wait_for()
    return frame


def row(frame: Page, table: str, lock: str) -> Page:
    """The rows of a lock in one of the tables."""
    return frame.get_by_role("table", name=table).get_by_role("row").filter(has_text=lock)
