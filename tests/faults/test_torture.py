"""The torture run in its short form, its negative twin, and a calm day. The long form: make torture."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.server import Server
from tests.faults.torture import Report, Torture, server
from tests.faults.torture_worker import SETTINGS


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with server() as one:
        yield one


def test_nothing_is_found_after_a_run_of_misfortunes(running: Server) -> None:
    """Killed, frozen and cut off clients, lost answers, slow lines, wrong clocks, and a crash of the server."""
    torture = Torture(running, seed=1, workers=5, guarded=True, mishaps=1.5)
    report = torture.run(grants=10_000, seconds=8, crash_every=4)
    assert report.findings == []
    assert report.grants > 30
    assert report.increments > 5
    assert report.misfortunes["server crash"] >= 1
    assert any(name.startswith("lost answers") for name in report.clients)


def test_without_the_guard_the_same_run_loses_updates(running: Server) -> None:
    """The negative twin: so the run would notice."""
    torture = Torture(running, seed=1, workers=5, guarded=False, mishaps=4.0)
    # It ends with the first loss, usually after 4 to 30 s: it takes two who freeze and write in the wrong order.
    report = torture.run(grants=10_000, seconds=120, until_lost=True)
    assert report.lost_updates > 0
    kinds = " ".join(report.findings)
    assert "was made twice" in kinds
    assert "was granted" in kinds, "the judge also sees it by its time"


def test_on_a_calm_day_nobody_is_overtaken_and_nothing_goes_wrong(running: Server) -> None:
    report: Report = Torture(running, seed=1, workers=3, guarded=True, mishaps=0.0).run(grants=200, seconds=20)
    assert report.findings == []
    assert report.grants >= 200
    assert report.out_of_turn == 0
    assert set(report.clients) <= {"busy", "increments"}, "no error, no timeout, no lost ticket"
    assert report.takeovers == 0, f"nobody died, so nothing expired (ttl {SETTINGS.ttl:g} s)"
