from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from fake_aws import START, FakeClientError, FakeClock, FakeGlue

from airflow_lockprovider.lease.errors import ConfigurationError
from airflow_lockprovider.readiness.crawl import CrawlProbe
from airflow_lockprovider.readiness.verdict import Status, Verdict


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def glue(clock: FakeClock) -> FakeGlue:
    return FakeGlue(clock)


def probe_of(glue: FakeGlue, **settings: Any) -> CrawlProbe:
    return CrawlProbe({"glue": glue}, **{"crawler_name": "sales", **settings})


def wait(probe: CrawlProbe, clock: FakeClock, *, looks: int = 200) -> Verdict:
    """What the sensors do: begin while the probe asks for it, otherwise step."""
    for _ in range(looks):
        verdict = probe.begin() if probe.must_begin else probe.step()
        if verdict.status is not Status.WAIT:
            return verdict
        clock.sleep(1)
    return verdict


def test_a_crawler_that_never_ran_is_started_and_waited_for(glue: FakeGlue, clock: FakeClock) -> None:
    verdict = wait(probe_of(glue), clock)
    assert verdict.status is Status.READY
    assert len(glue.starts) == 1
    assert clock.now - START >= timedelta(seconds=30)


def test_yesterdays_success_is_not_todays(glue: FakeGlue, clock: FakeClock) -> None:
    glue.start_crawler(Name="sales")
    clock.sleep(86_400)
    asked = clock.now
    assert wait(probe_of(glue), clock).status is Status.READY
    assert glue.starts[-1] >= asked


def test_the_crawl_that_was_running_before_is_never_accepted(glue: FakeGlue, clock: FakeClock) -> None:
    # The race of the first prototype: it took the end of the running crawl for the end of its own.
    glue.start_crawler(Name="sales")
    clock.sleep(15)
    probe = probe_of(glue)
    verdict = wait(probe, clock)
    assert verdict.status is Status.READY
    assert len(glue.starts) == 2
    assert clock.now - glue.starts[1] >= timedelta(seconds=30)


def test_a_foreign_crawl_that_is_not_visible_yet_is_never_accepted(glue: FakeGlue, clock: FakeClock) -> None:
    # GetCrawler still says READY, StartCrawler already refuses: the baseline has to be read again.
    glue.start_crawler(Name="sales")
    verdict = wait(probe_of(glue), clock)
    assert verdict.status is Status.READY
    assert len(glue.starts) == 2
    assert clock.now - glue.starts[1] >= timedelta(seconds=30)


def test_ready_right_after_the_start_is_the_earlier_crawl(glue: FakeGlue, clock: FakeClock) -> None:
    glue.start_crawler(Name="sales")
    clock.sleep(100)
    probe = probe_of(glue)
    probe.begin()
    verdict = probe.step()
    assert verdict.status is Status.WAIT
    assert "not visible yet" in verdict.reason


def test_attach_takes_the_running_crawl(glue: FakeGlue, clock: FakeClock) -> None:
    glue.start_crawler(Name="sales")
    clock.sleep(15)
    assert wait(probe_of(glue, on_running="attach"), clock).status is Status.READY
    assert len(glue.starts) == 1


def test_attach_does_not_accept_the_crawl_before_the_running_one(glue: FakeGlue, clock: FakeClock) -> None:
    glue.start_crawler(Name="sales")
    clock.sleep(100)
    glue.start_crawler(Name="sales")
    probe = probe_of(glue, on_running="attach")
    probe.begin()
    assert probe.step().status is Status.WAIT
    assert wait(probe, clock).status is Status.READY
    assert clock.now - glue.starts[1] >= timedelta(seconds=30)


def test_a_running_crawl_fails_when_that_is_wanted(glue: FakeGlue, clock: FakeClock) -> None:
    glue.start_crawler(Name="sales")
    clock.sleep(15)
    verdict = probe_of(glue, on_running="fail").begin()
    assert verdict.status is Status.FAILED
    assert "already running" in verdict.reason


@pytest.mark.parametrize("outcome", ["FAILED", "CANCELLED"])
def test_a_crawl_that_did_not_succeed_fails_with_its_message_and_log(
    glue: FakeGlue, clock: FakeClock, outcome: str
) -> None:
    glue.outcome = outcome
    verdict = wait(probe_of(glue), clock)
    assert verdict.status is Status.FAILED
    assert f"{outcome}: role cannot read s3://replica" in verdict.reason
    assert "log /aws-glue/crawlers/sales: https://" in verdict.reason
    assert "log-group/$252Faws-glue$252Fcrawlers/log-events/sales" in verdict.reason


def test_a_start_that_never_becomes_visible_fails_after_the_start_timeout(glue: FakeGlue, clock: FakeClock) -> None:
    glue.start_lag = glue.duration = 10_000
    verdict = wait(probe_of(glue, start_timeout=60), clock)
    assert verdict.status is Status.FAILED
    assert "no crawl of sales started within 1 min" in verdict.reason
    assert timedelta(seconds=60) < clock.now - START < timedelta(seconds=65)


def test_a_missing_crawler_is_named(glue: FakeGlue) -> None:
    verdict = probe_of(glue, crawler_name="absent").begin()
    assert verdict.status is Status.MISCONFIGURED
    assert "the Glue crawler 'absent'" in verdict.reason


def test_without_start_only_a_crawl_after_the_moment_counts(glue: FakeGlue, clock: FakeClock) -> None:
    glue.start_crawler(Name="sales")
    clock.sleep(100)
    probe = probe_of(glue, start=False, after=clock.now.isoformat())
    verdict = probe.begin()
    assert verdict.status is Status.WAIT
    assert "never" not in verdict.reason
    clock.sleep(3600)
    assert probe.step().status is Status.WAIT
    glue.start_crawler(Name="sales")
    assert wait(probe, clock).status is Status.READY
    assert len(glue.starts) == 2


def test_without_start_a_crawl_that_ended_already_is_ready_at_once(glue: FakeGlue, clock: FakeClock) -> None:
    moment = clock.now
    glue.start_crawler(Name="sales")
    clock.sleep(100)
    assert probe_of(glue, start=False, after=moment.isoformat()).begin().status is Status.READY


def test_without_start_nothing_is_ever_started(glue: FakeGlue, clock: FakeClock) -> None:
    wait(probe_of(glue, start=False, after=clock.now.isoformat()), clock, looks=20)
    assert glue.requests["start"] == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"start": False},
        {"start": True, "after": "2026-01-31T06:00:00+00:00"},
        {"start": False, "after": "2026-01-31T06:00:00"},
        {"start": False, "after": "yesterday"},
    ],
)
def test_contradicting_settings_are_refused(glue: FakeGlue, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        probe_of(glue, **settings)


@pytest.mark.parametrize("running_before", [True, False])
def test_a_restart_at_any_moment_starts_no_second_crawl_and_accepts_no_old_one(
    clock: FakeClock, running_before: bool
) -> None:
    # Another process takes over after every single look.
    glue = FakeGlue(clock)
    glue.start_crawler(Name="sales")
    clock.sleep(15 if running_before else 100)
    state, verdict = "", None
    for _ in range(200):
        probe = probe_of(glue)
        if state:
            probe.restore(state)
        verdict = probe.begin() if probe.must_begin else probe.step()
        state = probe.state()
        if verdict.status is not Status.WAIT:
            break
        clock.sleep(1)
    assert verdict is not None
    assert verdict.status is Status.READY
    assert len(glue.starts) == 2
    assert clock.now - glue.starts[1] >= timedelta(seconds=30)


def test_a_trigger_that_is_restarted_from_its_first_state_goes_on_waiting_for_the_same_crawl(
    glue: FakeGlue, clock: FakeClock
) -> None:
    first = probe_of(glue)
    first.begin()
    state = first.state()
    clock.sleep(10)
    first.step()
    again = probe_of(glue)
    again.restore(state)
    assert not again.must_begin
    assert wait(again, clock).status is Status.READY
    assert len(glue.starts) == 1


def test_a_refused_start_names_the_permission(glue: FakeGlue) -> None:
    probe = probe_of(glue)
    denied = FakeClientError("StartCrawler", "AccessDeniedException", 400, "not authorized")
    verdict = None
    for _ in range(3):
        glue.errors = []
        glue.start_crawler = _raising(denied)  # type: ignore[method-assign]
        verdict = probe.begin()
    assert verdict is not None
    assert verdict.status is Status.MISCONFIGURED
    assert "allow glue:StartCrawler" in verdict.reason


def _raising(error: Exception) -> Any:
    def refuse(**_: Any) -> Any:
        raise error

    return refuse
