"""The doctor and the watch on every dialect."""

from __future__ import annotations

from airflow_lockprovider.desk.doctor import examine
from airflow_lockprovider.desk.watch import Thresholds
from airflow_lockprovider.desk.watching import watch
from tests.conformance.dialects import Dialect


def test_the_doctor_finds_all_in_order(dialect: Dialect) -> None:
    found = {finding.check: finding for finding in examine(dialect.engine(), "airflow locks")}

    assert {finding.result for finding in found.values()} == {"ok"}, found
    assert found.keys() >= {"connection", "clock", "tables", "wake-up"}


def test_the_watch_finds_what_is_held_too_long_and_who_waits(dialect: Dialect) -> None:
    engine = dialect.engine()
    assert engine.try_acquire("dwh.sales", owner="first")
    engine.enqueue("dwh.sales", owner_id="2", owner="second")

    # Anything is too long here: Redshift counts whole seconds.
    seen = watch(engine, Thresholds(held=-1.0, waiting=-1.0, queue=None), clean_up=True)

    assert ("held too long", "first") in {(problem.kind, problem.owner) for problem in seen.problems}
    assert {problem.kind for problem in seen.problems} <= {"held too long", "waiting too long"}
    assert (len(seen.leases), len(seen.waiters), seen.lock_names) == (1, 1, {"dwh.sales"})
